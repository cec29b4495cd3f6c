# The command line in a container:
#   docker build -t pruning_lab .
#   docker run --rm --gpus all -v "$PWD/outputs:/home/lab/outputs" pruning_lab +experiment=unet_ipad
FROM python:3.12-slim

RUN useradd --uid 1000 --create-home lab
WORKDIR /home/lab/source
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY pruning_lab pruning_lab
# The package beside this file: its own ranges of versions count.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[models,export]" && mkdir /home/lab/outputs && chown lab /home/lab/outputs

USER 1000
WORKDIR /home/lab
ENTRYPOINT ["pruning-lab"]
CMD ["--help"]
