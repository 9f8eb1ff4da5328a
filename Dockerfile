# Images of vsr, with the web server and cluster support:
#
#   docker build --tag vsr:cpu .
#   docker build --build-arg DEVICE=cuda --tag vsr:cuda .
#
#   docker run --rm --volume "$PWD:/films" vsr:cpu upscale old.mp4 new.mp4
#   docker run --rm --gpus all --volume "$PWD:/films" vsr:cuda upscale old.mp4 new.mp4
#
# All machines of a cluster need the same image: the versions decide about the bytes.

ARG PYTHON=3.12
# cpu or cuda
ARG DEVICE=cpu

FROM python:${PYTHON}-slim AS base
# OpenCV needs OpenGL and GLib; KubeRay probes its pods by wget.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 wget \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_DISABLE_IMPORT_WARNING=1

# torch for the processor, and torch with CUDA: large layers, which a change of vsr doesn't touch.
FROM base AS torch-cpu
RUN pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu

FROM base AS torch-cuda
# Triton compiles the network with a C compiler.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && pip install torch torchvision
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video

# hadolint ignore=DL3006
FROM torch-${DEVICE} AS vsr
COPY pyproject.toml README.md LICENSE /src/
COPY vsr /src/vsr
# ray[default] adds the agent that KubeRay's probes ask.
# hadolint ignore=DL3042
RUN pip install '/src[cluster,web]' 'ray[default]' \
    && useradd --create-home --uid 1000 vsr \
    && install --directory --owner vsr --group vsr /films /data /home/vsr/.cache
USER vsr
WORKDIR /films
ENTRYPOINT ["vsr"]
CMD ["--help"]
