# seqrl as a container: no root, one volume, a health check.
#
#   docker build -t seqrl .
#   docker run --init -p 127.0.0.1:8501:8501 -v seqrl:/data seqrl
#
# The port is published on the host's loopback only; docs/deployment.md says how to serve it to others.
FROM python:3.11-slim-bookworm

# Off-screen drawing of MuJoCo.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libosmesa6 fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 seqrl \
    && install -d -o seqrl -g seqrl /data

WORKDIR /app
COPY requirements.txt .
# For example an index that has CPU builds of torch.
ARG PIP_OPTIONS=""
RUN pip install --no-cache-dir ${PIP_OPTIONS} -r requirements.txt && pip check

COPY app.py LICENSE README.md ./
COPY .streamlit .streamlit
COPY pages pages
COPY seqrl seqrl
RUN python -m compileall -q app.py pages seqrl

USER seqrl
ENV SEQRL_HOME=/data \
    SEQRL_BACKEND=local \
    PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]

# Inside the container it has to listen on the container's address; who may reach it is decided outside.
CMD ["streamlit", "run", "app.py", "--server.port=8501", "--server.address=0.0.0.0"]
