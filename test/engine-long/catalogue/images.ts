import type { StandIn } from '../../support/docker/stand-ins.ts';

const postgres: StandIn = { tcp: [5432], wants: ['POSTGRES_PASSWORD|POSTGRES_HOST_AUTH_METHOD'] };
const redis: StandIn = { tcp: [6379] };
const mariadb: StandIn = { tcp: [3306], wants: ['MARIADB_ROOT_PASSWORD|MARIADB_ALLOW_EMPTY_ROOT_PASSWORD'] };
const wordpress: StandIn = { http: [80], needs: ['WORDPRESS_DB_HOST:3306'] };
const gitea: StandIn = { http: [3000], tcp: [22], needs: ['GITEA__database__HOST:5432'] };
const plausible: StandIn = {
  http: [8000],
  wants: ['BASE_URL', 'SECRET_KEY_BASE'],
  needs: ['DATABASE_URL:5432', 'CLICKHOUSE_DATABASE_URL:8123'],
};
const immich: StandIn = {
  http: [2283],
  wants: ['DB_PASSWORD'],
  also: ['HEALTHCHECK --interval=1s --retries=30 CMD curl -f http://localhost:2283/api/server/ping'],
};
/** Its own health check would never pass: the file turns it off. */
const learning: StandIn = { http: [3003], also: ['HEALTHCHECK --interval=1s CMD false'] };
const mastodon: StandIn = { http: [3000], wants: ['LOCAL_DOMAIN'], needs: ['DB_HOST:5432', 'REDIS_HOST:6379'] };
const vaultwarden: StandIn = { http: [80], wants: ['DOMAIN', 'ADMIN_TOKEN'], also: ['VOLUME /data'] };
const kuma: StandIn = {
  http: [3001],
  also: ['HEALTHCHECK --interval=1s --retries=30 CMD curl -f http://localhost:3001'],
};
const n8n: StandIn = {
  http: [5678],
  wants: ['N8N_ENCRYPTION_KEY', 'DB_POSTGRESDB_PASSWORD'],
  needs: ['DB_POSTGRESDB_HOST:5432', 'QUEUE_BULL_REDIS_HOST:6379'],
};
const ghost: StandIn = { http: [2368], needs: ['database__connection__host:3306'] };
const matomo: StandIn = { http: [80], wants: ['MATOMO_DATABASE_HOST'], needs: ['MATOMO_DATABASE_HOST:3306'] };
const keycloak: StandIn = { http: [8080, 9000], wants: ['KC_BOOTSTRAP_ADMIN_PASSWORD'], needs: ['KC_DB_URL:5432'] };
const imgproxy: StandIn = { http: [8080], needs: ['IMGPROXY_S3_ENDPOINT:9000'] };
const kafka: StandIn = { tcp: [9092, 29092], needs: ['KAFKA_ZOOKEEPER_CONNECT:2181'] };
const kafkaUi: StandIn = { http: [8080], needs: ['KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS:9092'] };
const elasticsearch: StandIn = { http: [9200], wants: ['ELASTIC_PASSWORD'] };
const kibana: StandIn = { http: [5601], needs: ['ELASTICSEARCH_HOSTS:9200'] };
const umami: StandIn = { http: [3000], wants: ['APP_SECRET'], needs: ['DATABASE_URL:5432'] };
const paperless: StandIn = {
  http: [8000],
  needs: [
    'PAPERLESS_REDIS:6379',
    'PAPERLESS_DBHOST:5432',
    'PAPERLESS_TIKA_ENDPOINT:9998',
    'PAPERLESS_TIKA_GOTENBERG_ENDPOINT:3000',
  ],
};
const python: StandIn = { http: [8000], needs: ['DATABASE_URL:5432', 'CELERY_BROKER_URL:6379'] };

/** Each image that a file of the catalogue names, in all versions. */
export const IMAGES: Readonly<Record<string, StandIn>> = {
  ...{ 'postgres:14-alpine': postgres, 'postgres:15-alpine': postgres, 'postgres:16-alpine': postgres },
  ...{ 'postgres:14': postgres, 'postgres:16': postgres },
  ...{ 'redis:6-alpine': redis, 'redis:7-alpine': redis, 'redis:7.2-alpine': redis, 'redis:7.4-alpine': redis },
  ...{ 'redis:7': redis, 'redis:alpine': redis, 'valkey/valkey:8-bookworm': redis },
  ...{ 'mariadb:10.11': mariadb, 'mysql:8.0': { tcp: [3306], wants: ['MYSQL_ROOT_PASSWORD'] } },
  ...{ 'wordpress:6.7': wordpress, 'wordpress:6.8': wordpress },
  'nextcloud:30-apache': { http: [80], wants: ['POSTGRES_PASSWORD'], needs: ['POSTGRES_HOST:5432', 'REDIS_HOST:6379'] },
  ...{ 'docker.gitea.com/gitea:1.22.3': gitea, 'docker.gitea.com/gitea:1.23.0': gitea },
  'clickhouse/clickhouse-server:24.3.3.102-alpine': { http: [8123], tcp: [9000] },
  ...{
    'ghcr.io/plausible/community-edition:v2.1.4': plausible,
    'ghcr.io/plausible/community-edition:v2.1.5': plausible,
  },
  ...{ 'ghcr.io/immich-app/immich-server:release': immich, 'ghcr.io/immich-app/immich-server:v1.119.0': immich },
  'ghcr.io/immich-app/immich-machine-learning:release': learning,
  'ghcr.io/immich-app/immich-machine-learning:v1.119.0': learning,
  'ghcr.io/immich-app/postgres:14-vectorchord0.4.3-pgvectors0.2.0': postgres,
  'prom/prometheus:v2.54.1': { http: [9090] },
  'prom/node-exporter:v1.8.2': { http: [9100] },
  'grafana/loki:3.2.0': { http: [3100] },
  'grafana/grafana:11.2.0': { http: [3000] },
  ...{ 'ghcr.io/mastodon/mastodon:v4.3.1': mastodon, 'ghcr.io/mastodon/mastodon:v4.3.2': mastodon },
  'ghcr.io/mastodon/mastodon-streaming:v4.3.1': { ...mastodon, http: [4000] },
  ...{ 'nginx:1.27-alpine': { http: [80] }, 'php:8.3-fpm-alpine': { tcp: [9000] } },
  ...{ 'traefik:v3.1': { http: [80, 8080] }, 'traefik/whoami:v1.10': { http: [80] } },
  ...{ 'vaultwarden/server:1.32.0': vaultwarden, 'vaultwarden/server:1.32.1': vaultwarden },
  ...{ 'louislam/uptime-kuma:1.23': kuma, 'louislam/uptime-kuma:2.0': kuma },
  ...{ 'docker.n8n.io/n8nio/n8n:1.63.4': n8n, 'docker.n8n.io/n8nio/n8n:1.64.0': n8n },
  ...{ 'ghost:5-alpine': ghost, 'ghost:6-alpine': ghost },
  ...{ 'matomo:5.1-apache': matomo, 'matomo:5.2-apache': matomo },
  'quay.io/keycloak/keycloak:26.0': keycloak,
  'minio/minio:RELEASE.2024-09-22T00-33-43Z': { http: [9000, 9001], wants: ['MINIO_ROOT_PASSWORD'] },
  ...{ 'minio/mc:latest': {}, 'imgproxy/imgproxy:v3.25': imgproxy, 'imgproxy/imgproxy:v3.26': imgproxy },
  'confluentinc/cp-zookeeper:7.4.4': { tcp: [2181], wants: ['ZOOKEEPER_CLIENT_PORT'] },
  ...{ 'confluentinc/cp-kafka:7.4.4': kafka, 'provectuslabs/kafka-ui:v0.7.2': kafkaUi },
  'docker.elastic.co/elasticsearch/elasticsearch:8.15.0': elasticsearch,
  'docker.elastic.co/elasticsearch/elasticsearch:8.15.1': elasticsearch,
  ...{ 'docker.elastic.co/kibana/kibana:8.15.0': kibana, 'docker.elastic.co/kibana/kibana:8.15.1': kibana },
  'rediscommander/redis-commander:latest': { http: [8081], wants: ['REDIS_HOSTS'] },
  'ghcr.io/umami-software/umami:postgresql-v2.13': umami,
  ...{ 'ghcr.io/paperless-ngx/paperless-ngx:2.12': paperless, 'ghcr.io/paperless-ngx/paperless-ngx:2.13': paperless },
  ...{ 'gotenberg/gotenberg:8.7': { http: [3000] }, 'apache/tika:latest': { http: [9998] } },
  'python:3.12-slim': python,
  'dockersamples/examplevotingapp_vote:after': { http: [80], needs: ['REDIS_HOST:6379'] },
  'dockersamples/examplevotingapp_result:after': { http: [80], tcp: [9229], needs: ['PG_HOST:5432'] },
  'dockersamples/examplevotingapp_worker:latest': {},
  'qmcgaw/gluetun:v3.39': { tcp: [8000] },
  'lscr.io/linuxserver/qbittorrent:4.6.7': { http: [8012] },
};
