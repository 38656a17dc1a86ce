# CONTEXT {'guest_os': 'UBUNTU'}
# Does not build, on purpose: shows how a broken image is reported.
ARG BASE_DOCKER=debian:bookworm-slim
FROM $BASE_DOCKER
RUN echo "this image cannot be built, on purpose" >&2 && exit 3
