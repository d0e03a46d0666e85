# syntax=docker/dockerfile:1.26.0@sha256:ecfaec9ed6d810b56388c508f4121597bfbba70d41a6dfeee4d8cad5f295fc32
# A static binary on nothing else. rust:alpine builds for musl and links it in, on the platform that is asked for; under
# `docker buildx --platform linux/amd64,linux/arm64` each one builds natively or emulated, with no cross toolchain.
FROM docker.io/library/rust:1.95.0-alpine@sha256:606fd313a0f49743ee2a7bd49a0914bab7deedb12791f3a846a34a4711db7ed2 AS build
# musl-dev: headers and a linkable libc, for the C and assembly of ring. gcc is in the image. Alpine keeps no older versions,
# so that a pinned one would soon not be there any more.
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates musl-dev
# Puts the list of crates into the binary, where scanners and the SBOM find it.
RUN cargo install cargo-auditable --version 0.7.7 --locked
WORKDIR /src
COPY . .
# No cache for `target`: cargo tells by file times what has changed, and another checkout may be older than what was built there.
# Only a dynamic binary names an interpreter: that must fail here, not in the cluster. `--version` proves that it runs.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo auditable build --release --locked --bin claviger && \
    cp target/release/claviger /claviger && \
    readelf -l /claviger > /headers && \
    ! grep -q INTERP /headers && \
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
