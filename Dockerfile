# recon in a container, from the locked dependencies:
#   docker build -t recon .
#   docker run --rm --user "$(id -u):$(id -g)" -e HOME=/me -v "$HOME/.aws:/me/.aws:ro" -e AWS_PROFILE -v "$PWD:/work" \
#     recon plan
# With your own user id, since ~/.aws should be readable by you alone (mode 0600).
FROM python:3.12-slim AS build
RUN python -I -m venv /opt/recon
WORKDIR /source
COPY requirements.lock ./
RUN /opt/recon/bin/pip install --quiet --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY reconciler reconciler
RUN /opt/recon/bin/pip install --quiet --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/recon/bin/recon --version

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 recon
COPY --from=build /opt/recon /opt/recon
ENV PATH=/opt/recon/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER recon
WORKDIR /work
ENTRYPOINT ["recon"]
CMD ["--help"]
