# docker build -f docker/cpu.Dockerfile -t mmhkt:cpu .
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY . /mmhkt
RUN pip install --no-cache-dir torch==2.11.0 torchvision==0.26.0 \
    && pip install --no-cache-dir "/mmhkt[onedl,demo,onnx]"
WORKDIR /work
ENTRYPOINT ["mmhkt"]
