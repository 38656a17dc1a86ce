# CONTEXT {'guest_os': 'UBUNTU'}
# One image for the benchmarks that compute: PyTorch and NumPy from Debian's own packages, no GPU needed.
# The CONTEXT line names no gpu_vendor, so the file is used on every host.
ARG BASE_DOCKER=debian:bookworm-slim
FROM $BASE_DOCKER
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-torch python3-numpy \
    && rm -rf /var/lib/apt/lists/*
