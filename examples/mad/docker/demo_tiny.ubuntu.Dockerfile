# CONTEXT {'guest_os': 'UBUNTU'}
# For the models that need nothing but bash and coreutils.  MAD_DEMO only makes an image of our own of it.
ARG BASE_DOCKER=debian:bookworm-slim
FROM $BASE_DOCKER
ENV MAD_DEMO=1
