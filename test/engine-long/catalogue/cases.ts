/** Texts of a file and what stands there instead. */
type Change = readonly [from: string, to: string];

export type Case = {
  /** The file. */
  name: string;
  exercises: string;
  /** Of the environment. */
  variables?: Readonly<Record<string, string>>;
  /** Like `variables`, as secrets. */
  secrets?: Readonly<Record<string, string>>;
  /** What is refused at first, and what an owner then allows, or a variable that is then set. */
  refused?: { says: RegExp; allow?: readonly string[]; set?: Readonly<Record<string, string>> };
  /** Services that end by themselves, with success. */
  once?: readonly string[];
  /** A version between 1 and 2 that fails, and why; those of `never` are changed too, and go on as they are. */
  broken?: { change: readonly Change[]; says: RegExp; never?: readonly string[] };
  /** To version 2, in the file or in the environment's variables. */
  next: Change | Readonly<Record<string, string>>;
  /** The services that this replaces, by name; all others stay the very containers that they were. */
  touches: readonly string[];
  /** What a published port answers in version 1 and in version 2. */
  answers: { port: number; path?: string; says: readonly [string, string] };
  /** A service and a file: written while version 2 runs, and there after the rollback. */
  keeps?: readonly [service: string, file: string];
};

export const CASES: readonly Case[] = [
  {
    name: 'wordpress',
    exercises: 'a database with a health check that the site waits for; data of version 2 outlive the rollback',
    next: ['wordpress:6.7', 'wordpress:6.8'],
    touches: ['wordpress'],
    answers: { port: 8080, says: ['wordpress:6.7', 'wordpress:6.8'] },
    keeps: ['wordpress', '/var/www/html/post.html'],
  },
  {
    name: 'nextcloud',
    exercises:
      'anchors, merge keys, an env file for three services, an entrypoint of its own, a volume of two services',
    next: ['cloud.example.com', 'files.example.com'],
    touches: ['app'],
    answers: { port: 8081, says: ['cloud.example.com', 'files.example.com'] },
  },
  {
    name: 'gitea',
    exercises: 'a file of the host, which an owner has to allow; a fixed name; two published ports',
    refused: { says: /privilege|localtime/, allow: ['HOST_PATHS'] },
    next: ['gitea:1.22.3', 'gitea:1.23.0'],
    touches: ['server'],
    answers: { port: 3001, says: ['gitea:1.22.3', 'gitea:1.23.0'] },
  },
  {
    name: 'plausible',
    exercises: 'migrations before the program in one command, ulimits, start intervals, a file bound into a folder',
    variables: { BASE_URL: 'https://stats.example.com' },
    secrets: { SECRET_KEY_BASE: 'c2VjcmV0LWtleS1iYXNl' },
    next: ['community-edition:v2.1.4', 'community-edition:v2.1.5'],
    touches: ['plausible'],
    answers: { port: 8000, says: ['community-edition:v2.1.4', 'community-edition:v2.1.5'] },
  },
  {
    name: 'immich',
    exercises: 'the tag in a variable, which alone changes; health checks of an image, kept and turned off; shm_size',
    next: { IMMICH_VERSION: 'v1.119.0' },
    touches: ['immich-machine-learning', 'immich-server'],
    answers: { port: 2283, says: ['immich-server:release', 'immich-server:v1.119.0'] },
  },
  {
    name: 'monitoring',
    exercises: 'only the text of a bound file changes; users, limits, logging options, host-gateway, long volumes',
    next: ['scrape_interval: 15s', 'scrape_interval: 30s'],
    touches: ['prometheus'],
    answers: {
      port: 9090,
      path: '/etc/prometheus/prometheus.yml',
      says: ['scrape_interval: 15s', 'scrape_interval: 30s'],
    },
  },
  {
    name: 'mastodon',
    exercises: 'migrations that web waits for, an internal network, two programs of one image, ports of one address',
    once: ['migrate'],
    next: ['puma -C config/puma.rb', 'puma -C config/puma.rb -w 3'],
    touches: ['web'],
    answers: { port: 3010, says: ['mastodon:v4.3.1', 'mastodon:v4.3.1'] },
  },
  {
    name: 'nginx-php',
    exercises: 'a folder that the stack brings, read-only and not; long ports; a stop signal other than TERM',
    next: ['php:9000; ', 'php:9000; fastcgi_read_timeout 60; '],
    touches: ['web'],
    answers: {
      port: 8083,
      path: '/etc/nginx/conf.d/default.conf',
      says: ['php:9000; fastcgi_param', 'read_timeout 60'],
    },
  },
  {
    name: 'traefik',
    exercises: "the engine's socket, which an owner has to allow; labels; three replicas with limits",
    refused: { says: /docker\.sock/, allow: ['HOST_PATHS', 'DOCKER_SOCKET'] },
    next: ['--api.insecure=true', '--api.dashboard=true'],
    touches: ['traefik'],
    answers: { port: 8085, says: ['traefik:v3.1', 'traefik:v3.1'] },
  },
  {
    name: 'vaultwarden',
    exercises: 'a variable that must be set; read-only, without capabilities, another user, tmpfs',
    secrets: { ADMIN_TOKEN: 'correct-horse' },
    refused: { says: /the address that clients use/, set: { DOMAIN: 'https://vault.example.com' } },
    next: ['server:1.32.0', 'server:1.32.1'],
    touches: ['vaultwarden'],
    answers: { port: 8086, says: ['DOMAIN=https://vault.example.com', 'server:1.32.1'] },
  },
  {
    name: 'uptime-kuma',
    exercises: 'one service with a volume whose data of version 2 outlive the rollback; the health check of its image',
    next: ['uptime-kuma:1.23', 'uptime-kuma:2.0'],
    touches: ['uptime-kuma'],
    answers: { port: 3003, says: ['uptime-kuma:1.23', 'uptime-kuma:2.0'] },
    keeps: ['uptime-kuma', '/app/data/kuma.db'],
  },
  {
    name: 'n8n',
    exercises: 'nested merge keys, links, a worker of the same image, defaults of variables and those without a value',
    secrets: { POSTGRES_PASSWORD: 'n8n-password', ENCRYPTION_KEY: 'n8n-secret-key' },
    next: ['n8nio/n8n:1.63.4', 'n8nio/n8n:1.64.0'],
    touches: ['n8n', 'n8n-worker'],
    answers: { port: 5678, says: ['n8n:1.63.4', 'n8n:1.64.0'] },
  },
  {
    name: 'ghost',
    exercises: 'a version whose health check fails: what ran is restored with its data',
    broken: { change: [['localhost:2368/ghost/api', 'localhost:2369/ghost/api']], says: /\bghost\b.*health check/ },
    next: ['ghost:5-alpine', 'ghost:6-alpine'],
    touches: ['ghost'],
    answers: { port: 2368, says: ['ghost:5-alpine', 'ghost:6-alpine'] },
    keeps: ['ghost', '/var/lib/ghost/content/image.svg'],
  },
  {
    name: 'matomo',
    exercises: 'a version without a variable that its program needs: it ends again and again, and what ran is restored',
    broken: {
      change: [['MATOMO_DATABASE_HOST', 'MATOMO_HOST']],
      says: /\bapp\b.*code 1 \(MATOMO_DATABASE_HOST is not set\)/,
    },
    next: ['matomo:5.1-apache', 'matomo:5.2-apache'],
    touches: ['app'],
    answers: { port: 8087, says: ['matomo:5.1-apache', 'matomo:5.2-apache'] },
  },
  {
    name: 'keycloak',
    exercises: 'a config with variables in its text, secrets as files, a port of its own for health checks',
    variables: { KEYCLOAK_ADMIN_PASSWORD: 'admin' },
    secrets: { DB_PASSWORD: 'keycloak-password' },
    next: { REALM: 'people' },
    touches: ['keycloak'],
    answers: {
      port: 8088,
      path: '/opt/keycloak/data/import/realm.json',
      says: ['"realm": "example"', '"realm": "people"'],
    },
  },
  {
    name: 'minio',
    exercises: 'a one-shot that makes buckets, folded into one text; where it fails, what waits for it never starts',
    once: ['createbuckets'],
    broken: {
      change: [
        ['store http://minio:9000', 'store http://minioo:9000'],
        ['imgproxy:v3.25', 'imgproxy:v3.26'],
      ],
      says: /\bcreatebuckets\b.*code 7/,
      never: ['app'],
    },
    next: ['imgproxy:v3.25', 'imgproxy:v3.26'],
    // It ended with an error in between, so it is run once more.
    touches: ['app', 'createbuckets'],
    answers: { port: 8090, says: ['imgproxy:v3.25', 'imgproxy:v3.26'] },
  },
  {
    name: 'kafka',
    exercises:
      'host names, topics made by a one-shot with a literal command, a health check in words, a profile left out',
    once: ['init-kafka'],
    next: ["DYNAMIC_CONFIG_ENABLED: 'true'", "DYNAMIC_CONFIG_ENABLED: 'false'"],
    touches: ['kafka-ui'],
    answers: { port: 8089, says: ['DYNAMIC_CONFIG_ENABLED=true', 'DYNAMIC_CONFIG_ENABLED=false'] },
  },
  {
    name: 'elastic',
    exercises:
      'certificates made once into a volume that others read, memory limits and versions in variables, memlock',
    variables: { STACK_VERSION: '8.15.0' },
    secrets: { ELASTIC_PASSWORD: 'elastic-password' },
    once: ['setup'],
    next: { STACK_VERSION: '8.15.1' },
    touches: ['es01', 'kibana', 'setup'],
    answers: { port: 5601, says: ['kibana:8.15.0', 'kibana:8.15.1'] },
  },
  {
    name: 'redis',
    exercises: 'sysctls, an alias, an internal network with a subnet, a scaled replica, a config bound into a folder',
    secrets: { REDIS_PASSWORD: 'redis-password' },
    next: ['commander:latest\n', 'commander:latest\n    hostname: commander\n'],
    touches: ['commander'],
    answers: { port: 8091, says: ['redis-commander:latest', 'HOSTNAME=commander'] },
  },
  {
    name: 'umami',
    exercises: 'a database in a URL, doubled dollars in a health check, init',
    next: ['replace-me-with-a-random-string', 'another-random-string'],
    touches: ['umami'],
    answers: { port: 3004, says: ['APP_SECRET=replace-me', 'APP_SECRET=another-random-string'] },
  },
  {
    name: 'paperless',
    exercises: 'five services, an env file with quotes and comments, a command as a list, short names of images',
    next: ["'deu+eng'", "'fra'"],
    touches: ['webserver'],
    answers: { port: 8010, says: ['PAPERLESS_OCR_LANGUAGE=deu+eng', 'PAPERLESS_OCR_LANGUAGE=fra'] },
  },
  {
    name: 'django',
    exercises: 'images built of the stack, extends, migrations: where they fail, neither web nor worker starts',
    secrets: { DB_PASSWORD: 'app-password' },
    once: ['migrations'],
    broken: {
      change: [['@db:5432', '@database:5432']],
      says: /\bmigrations\b.*code 1 \(cannot reach database/,
      never: ['web', 'worker'],
    },
    next: ['RELEASE: "1"', 'RELEASE: "2"'],
    touches: ['migrations', 'web', 'worker'],
    answers: { port: 8011, says: ['RELEASE=1', 'RELEASE=2'] },
  },
  {
    name: 'voting',
    exercises: 'health checks that are scripts of the stack, two networks, a profile that seeds',
    next: ['"8092:80"', '"8094:80"'],
    touches: ['vote'],
    answers: { port: 8093, says: ['examplevotingapp_result:after', 'examplevotingapp_result:after'] },
  },
  {
    name: 'vpn',
    exercises:
      'a service in the network of another one, by whose port it answers, and which it goes with; a capability that an owner has to allow',
    refused: { says: /NET_ADMIN/, allow: ['CAPABILITIES'] },
    next: ['TZ=Etc/UTC', 'TZ=Europe/Berlin'],
    touches: ['gluetun', 'qbittorrent'],
    answers: { port: 8012, says: ['TZ=Etc/UTC', 'TZ=Europe/Berlin'] },
  },
];
