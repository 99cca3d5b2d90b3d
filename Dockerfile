# recon in a container, from the locked dependencies:
#   docker build -t recon .
#   docker run --rm --user "$(id -u):$(id -g)" -e HOME=/me -v "$HOME/.aws:/me/.aws:ro" -e AWS_PROFILE -v "$PWD:/work" \
#     recon plan
# With your own user id, since ~/.aws should be readable by you alone (mode 0600).
#
# The base is pinned: python:3.12-slim of September 2026 (Python 3.12.14 on Debian 13, for all platforms). Dependabot
# proposes its successors; by hand: docker buildx imagetools inspect python:3.12-slim
FROM python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea AS build
RUN python -I -m venv /opt/recon
WORKDIR /source
COPY requirements.lock ./
RUN /opt/recon/bin/pip install --quiet --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY reconciler reconciler
RUN /opt/recon/bin/pip install --quiet --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/recon/bin/recon --version

FROM python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea
RUN useradd --create-home --uid 10001 recon
COPY --from=build /opt/recon /opt/recon
ENV PATH=/opt/recon/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER recon
WORKDIR /work
ENTRYPOINT ["recon"]
CMD ["--help"]
