# docker build -f docker/cuda.Dockerfile -t mmhkt:cuda .
# docker run --gpus all --shm-size 8g -v $PWD:/work mmhkt:cuda train ...
FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04

RUN apt-get update \
    && apt-get install -y --no-install-recommends \
       python3 python3-venv libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY . /mmhkt
RUN pip install --no-cache-dir torch==2.11.0 torchvision==0.26.0 \
    && pip install --no-cache-dir "/mmhkt[onedl,demo,onnx,cluster]"
WORKDIR /work
ENTRYPOINT ["mmhkt"]
