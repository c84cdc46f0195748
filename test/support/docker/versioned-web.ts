import { IMAGE } from './containers.ts';

/** A stack of two replicas behind an ingress that serve their version as a page; `more`: further keys of the service. */
export const versionedWeb = (port: number, version: string, ...more: string[]): string =>
  [
    'x-windflow: { ingress: true }',
    'services:',
    '  web:',
    `    image: ${IMAGE}`,
    '    init: true',
    `    command: ["sh", "-c", "mkdir -p /www && echo ${version} > /www/index.html && exec httpd -f -p 80 -h /www"]`,
    `    ports: ["${port}:80"]`,
    '    stop_grace_period: 1s',
    '    deploy: { replicas: 2 }',
    '    healthcheck: { test: ["CMD", "wget", "-qO", "/dev/null", "http://127.0.0.1/"], interval: 1s, start_period: 10s, start_interval: 500ms }',
    ...more.map((key) => `    ${key}`),
    '',
  ].join('\n');
