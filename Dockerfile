# The daemon with its demo.   docker build -t adapterd . && docker run -p 8080:8080 adapterd
# A model of your own:        docker run -p 8080:8080 -v /my/model:/model:ro -e ADAPTERD_MODEL=/model -v adapterd:/data adapterd
ARG BASE_IMAGE=debian:12-slim

FROM ${BASE_IMAGE} AS build
COPY . /src
RUN cd /src && scripts/deps.sh build && make -j"$(nproc)" && make install DESTDIR=/out PREFIX=/usr/local

FROM ${BASE_IMAGE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends libmicrohttpd12 libjansson4 libsqlite3-0 libpcre2-8-0 libutf8proc2 \
        libnettle8 libopenblas0-pthread libcurl4 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 adapterd \
    && useradd --system --uid 10001 --gid adapterd --home-dir /data --shell /usr/sbin/nologin adapterd \
    && install -d -o adapterd -g adapterd -m 700 /data
COPY --from=build /out/usr/local/bin /usr/local/bin
COPY demo/base /usr/local/share/adapterd/demo/base
COPY demo/adapters /usr/local/share/adapterd/demo/adapters
COPY demo/tour.sh /usr/local/share/adapterd/demo/tour.sh
COPY deploy/adapterd-demo /usr/local/bin/adapterd-demo

# Everything that is written lies under /data: the root file system may be read-only.
ENV ADAPTERD_MODEL=/usr/local/share/adapterd/demo/base ADAPTERD_DATA=/data ADAPTERD_LISTEN=0.0.0.0:8080
VOLUME /data
USER adapterd
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["adapterctl", "status"]
ENTRYPOINT ["adapterd"]
