import { once } from 'node:events';
import { createServer } from 'node:http';
import { postgraphile } from 'postgraphile';
import { makePgService } from 'postgraphile/adaptors/pg';
import { grafserv } from 'postgraphile/grafserv/node';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';
import { renderMetrics } from './metrics.mjs';

const POOL_SIZE = 16;

const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  pgServices: [
    makePgService({ connectionString: process.env.DATABASE_URL, schemas: ['public'], poolConfig: { max: POOL_SIZE } }),
  ],
  grafserv: { graphiql: false, watch: false, websockets: false },
});
const serve = instance.createServ(grafserv).createHandler();
const http = createServer((request, response) => {
  if (request.url === '/metrics') response.end(renderMetrics());
  else serve(request, response);
});
http.listen(0, '127.0.0.1');
await once(http, 'listening');
await instance.getSchema();
console.log('ready', `http://127.0.0.1:${http.address().port}`);
