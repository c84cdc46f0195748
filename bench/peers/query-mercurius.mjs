import Fastify from 'fastify';
import { GraphQLScalarType } from 'graphql';
import mercurius from 'mercurius';
import pg from 'pg';
import { toConnection, typeDefs } from './deployments-schema.mjs';
import { renderMetrics } from './metrics.mjs';

const POOL_SIZE = 16;
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: POOL_SIZE });

const PAGE = `select id, number, status, progress, created_at as "createdAt", stack_id, environment_id, created_by_id
  from deployments where organization_id = $1 order by created_at desc, id desc limit $2`;
const STACKS = 'select id, name from stacks where id = any($1)';
const ENVIRONMENTS = 'select id, name, type from environments where id = any($1)';
const USERS = 'select id, username from users where id = any($1)';

/** One query for all objects of the page, each row at the places that ask for it. */
function loader(name, text, key) {
  return async (queries) => {
    const ids = [...new Set(queries.map(({ obj }) => obj[key]))];
    const { rows } = await pool.query({ name, text, values: [ids] });
    const byId = new Map(rows.map((row) => [row.id, row]));
    return queries.map(({ obj }) => byId.get(obj[key]) ?? null);
  };
}

const app = Fastify({ logger: false });
app.register(mercurius, {
  schema: typeDefs,
  jit: 1,
  resolvers: {
    DateTime: new GraphQLScalarType({ name: 'DateTime', serialize: (date) => date.toISOString() }),
    Actor: { resolveType: () => 'User' },
    Query: {
      deployments: async (_root, { organizationId, first }) => {
        const { rows } = await pool.query({ name: 'page', text: PAGE, values: [organizationId, first + 1] });
        return toConnection(rows, first);
      },
    },
  },
  loaders: {
    Deployment: {
      stack: { loader: loader('stacks', STACKS, 'stack_id'), opts: { cache: false } },
      environment: { loader: loader('environments', ENVIRONMENTS, 'environment_id'), opts: { cache: false } },
      createdBy: { loader: loader('users', USERS, 'created_by_id'), opts: { cache: false } },
    },
  },
});
app.get('/metrics', async () => renderMetrics());
console.log('ready', await app.listen({ host: '127.0.0.1', port: 0 }));
