/** The worked example of docs/compose-support.md: a stack that brings its files along. A test checks it. */
export const FILES_EXAMPLE = `x-windflow:
  files:
    web.env: |
      # Comments, quotes, export and variables, as in any env file.
      export GREETING="Hello, \${NAME:-world}"
      FORMULA='costs $5'
    web.json: |
      { "listen": "$PORT" }
services:
  web:
    command: node server.js --config web.json
    env_file:
      - web.env
      - { path: ./local.env, required: false }
    environment: { LEVEL: info }
    ports: ["8080:8080"]
    configs: [{ source: settings, target: web.json }]
configs:
  settings: { file: ./web.json }
`;

/** The worked example of a build and of bound files, in the same document. */
export const BUILD_EXAMPLE = `x-windflow:
  ingress: true
  files:
    app/Dockerfile: |
      FROM nginx:1.29
      COPY index.html /usr/share/nginx/html/
    app/index.html: |
      <h1>Hello</h1>
    nginx/default.conf: |
      server { listen 80; root /usr/share/nginx/html; }
services:
  web:
    build: ./app
    ports: ["8080:80"]
    volumes: ["./nginx:/etc/nginx/conf.d:ro"]
    deploy: { replicas: 2 }
`;
