# Bulbil in a container: docs/deploy.md.
#
#   docker build -t bulbil .
#   docker run --rm -it -v bulbil:/data bulbil init --name alpha      the recovery key is printed once: write it down
#   docker run -d --name bulbil -v bulbil:/data bulbil
#
# Both images are of the same Debian release, so the program finds the C library that it was linked with.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches stay with the builder and are in no image; so the program is copied out in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release && \
    install -D -m 0755 target/release/bulbil /out/bulbil

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Bulbil" \
      org.opencontainers.image.description="Backs up an application's data and lets trusted instances clone it, over Tor" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

# A fixed number: it owns the files in the volume, whatever image comes next.
RUN groupadd --gid 10001 bulbil && \
    useradd --uid 10001 --gid bulbil --no-create-home --home-dir /data --shell /usr/sbin/nologin bulbil && \
    install -d -o bulbil -g bulbil -m 0700 /data

COPY --from=build /out/bulbil /usr/local/bin/bulbil
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/bulbil/

USER 10001:10001
ENV BULBIL_HOME=/data
# Keys, chunks, manifests, index, and what Tor remembers: all there is.
VOLUME ["/data"]
WORKDIR /data

# Anything but 0 is unhealthy: also while there is no home, and until the onion service has been reached.
HEALTHCHECK --interval=5m --timeout=60s --start-period=3m --retries=3 \
    CMD ["bulbil", "doctor", "--quiet", "--ready"]

# No EXPOSE: peers come in through Tor, which dials out; the admin plane stays on the container's loopback.
ENTRYPOINT ["bulbil"]
CMD ["serve"]
