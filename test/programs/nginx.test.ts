import { afterAll, beforeAll, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer, instancesOf, serviceOf } from '../support/deployer.ts';
import { requirePrograms } from '../support/installed-programs.ts';

/** nginx as a front; its ports are those of the environment, so its configuration is rendered when it starts. */
const compose = (greeting: string) => `
services:
  front:
    command: ["sh", "-c", "sed -e s/@PORT@/$$PORT/ -e s/@API@/$$API_HOST:$$API_PORT/ nginx.conf.in > nginx.conf && exec nginx -p . -c nginx.conf"]
    configs: [{ source: front, target: nginx.conf.in }]
    depends_on: { api: { condition: service_healthy } }
    ports: ["80"]
    healthcheck: { test: ["CMD-SHELL", "python3 -c 'import os, urllib.request; urllib.request.urlopen(\\"http://127.0.0.1:\\" + os.environ[\\"PORT\\"] + \\"/nginx-health\\")'"], interval: 500ms, start_interval: 100ms, start_period: 10s }
  api:
    command: ["python3", "-u", "api.py"]
    configs: [{ source: api, target: api.py }]
    healthcheck: { test: ["CMD-SHELL", "python3 -c 'import os, socket; socket.create_connection((\\"127.0.0.1\\", int(os.environ[\\"PORT\\"])))'"], interval: 500ms, start_interval: 100ms, start_period: 10s }
configs:
  front:
    content: |
      daemon off;
      pid nginx.pid;
      error_log stderr;
      events {}
      http {
        access_log /dev/stdout;
        client_body_temp_path tmp/body;
        proxy_temp_path tmp/proxy;
        fastcgi_temp_path tmp/fastcgi;
        uwsgi_temp_path tmp/uwsgi;
        scgi_temp_path tmp/scgi;
        server {
          listen 127.0.0.1:@PORT@;
          location = /nginx-health { access_log off; return 200; }
          location / { proxy_pass http://@API@; }
        }
      }
  api:
    content: |
      import os
      from http.server import BaseHTTPRequestHandler, HTTPServer
      class Handler(BaseHTTPRequestHandler):
          def do_GET(self):
              body = b"${greeting} from python"
              self.send_response(200)
              self.send_header("content-length", str(len(body)))
              self.end_headers()
              self.wfile.write(body)
      HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
`;

let app: TestApp;
let acme: Deployer;
beforeAll(async () => {
  requirePrograms({ '/usr/sbin/nginx': 'nginx', '/usr/bin/python3': 'python3' });
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
});
afterAll(() => app?.[Symbol.asyncDispose]());

it('should serve an HTTP service through nginx, and another version of it behind the same nginx', async () => {
  const { stackId, ...live } = await acme.deployNew(compose('hello'));
  expect(live).toMatchObject({ status: 'RUNNING', statusReason: null });
  expect(live.services.map(({ name, state }) => `${name} ${state}`)).toEqual(['api HEALTHY', 'front HEALTHY']);
  const port = serviceOf(live, 'front').replicas[0]!.ports[0]!.published;
  const ask = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).text();
  expect(await ask('/')).toBe('hello from python');
  expect(await acme.untilLogged(live.id, 'GET /')).toMatchObject({ service: expect.stringMatching(/api|front/) });
  await ask('/a-path-that-both-log');
  for (const service of ['front', 'api'])
    await expect
      .poll(async () => (await acme.log(live.id, { services: [service], search: '/a-path-that-both-log' })).length)
      .toBe(1);

  await acme.changeStack(stackId, compose('bonjour'));
  const next = await acme.deploy(stackId);
  expect(next).toMatchObject({ status: 'RUNNING', statusReason: null });
  expect(instancesOf(next).front).toBe(instancesOf(live).front);
  expect(await ask('/')).toBe('bonjour from python');

  // It ends before it listens: no check can find it healthy.
  await acme.changeStack(stackId, compose('broken').replace('HTTPServer((', 'HTTPServr(('));
  const failed = await acme.deploy(stackId);
  expect(failed.status).toBe('FAILED');
  expect(failed.statusReason).toMatch(/^service api: exited with code 1 before it was healthy/);
  expect(await acme.output(failed.id)).toContainEqual(expect.stringContaining('NameError'));
  expect(await ask('/')).toBe('bonjour from python');
  await acme.stop(next.id);
  await expect(ask('/')).rejects.toThrow('fetch failed');
});
