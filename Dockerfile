# syntax=docker/dockerfile:1
# A static binary on nothing else. rust:alpine builds for musl and links it in, on the platform that is asked for; under
# `docker buildx --platform linux/amd64,linux/arm64` each one builds natively or emulated, with no cross toolchain.
ARG RUST_VERSION=1.95

FROM docker.io/library/rust:${RUST_VERSION}-alpine AS build
# musl-dev: headers and a linkable libc, for the C and assembly of ring. gcc is in the image.
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /src
COPY . .
ARG TARGETPLATFORM
ENV CARGO_PROFILE_RELEASE_STRIP=symbols
# Only a dynamic binary names an interpreter: that must fail here, not in the cluster. `--version` proves that it runs.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=claviger-target-${TARGETPLATFORM} \
    cargo build --release --locked --bin claviger && \
    cp target/release/claviger /claviger && \
    ! readelf -l /claviger | grep -q INTERP && \
    /claviger --version

FROM scratch
LABEL org.opencontainers.image.title="claviger" \
      org.opencontainers.image.description="Kubernetes operator that puts a credential, declared once, into every namespace that should have it" \
      org.opencontainers.image.source="https://github.com/claviger/claviger" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /claviger /claviger
# Numeric, so that the kubelet can tell that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/claviger"]
CMD ["run"]
