# shellcheck shell=bash
# What the scripts of this directory may install from outside the image's own package sources, and in which
# version.  Nothing else is downloaded, and nothing unpinned unless the user says so.
# shellcheck disable=SC2034  # read by the scripts that source this file

#: rpd tracer: a commit names its content, so a moved branch or tag cannot change what is built.
RPD_REPOSITORY=https://github.com/ROCm/rocmProfileData.git
RPD_REVISION=976899e9c6dbc6dd2bccf770818e4e44125590ac

#: rocm-trace-lite: tag of the release whose wheel is installed.
RTL_REPOSITORY=ROCm/rocm-trace-lite
RTL_RELEASE=v0.3.3

#: MIOpen: built at the release of the image's ROCm unless a revision is given.
MIOPEN_REPOSITORY=https://github.com/ROCm/MIOpen.git
