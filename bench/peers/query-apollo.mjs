import { once } from 'node:events';
import { createServer } from 'node:http';
import { ApolloServer } from '@apollo/server';
import { expressMiddleware } from '@as-integrations/express5';
import { PrismaPg } from '@prisma/adapter-pg';
import express from 'express';
import { GraphQLScalarType } from 'graphql';
import { PrismaClient } from '../../src/db/generated/prisma/client.ts';
import { toConnection, typeDefs } from './deployments-schema.mjs';
import { renderMetrics } from './metrics.mjs';

const POOL_SIZE = 16;
const adapter = new PrismaPg({ connectionString: process.env.DATABASE_URL, max: POOL_SIZE });
const prisma = new PrismaClient({ adapter });

const server = new ApolloServer({
  typeDefs,
  resolvers: {
    DateTime: new GraphQLScalarType({ name: 'DateTime', serialize: (date) => date.toISOString() }),
    Actor: { __resolveType: () => 'User' },
    Query: {
      deployments: async (_root, { organizationId, first }) => {
        const rows = await prisma.deployment.findMany({
          where: { organizationId },
          orderBy: [{ createdAt: 'desc' }, { id: 'desc' }],
          take: first + 1,
          include: { stack: true, environment: true, createdBy: true },
        });
        return toConnection(rows, first);
      },
    },
  },
});
await server.start();
const app = express();
app.get('/metrics', (_request, response) => response.type('text/plain').send(renderMetrics()));
app.use('/graphql', express.json(), expressMiddleware(server));
const http = createServer(app).listen(0, '127.0.0.1');
await once(http, 'listening');
await prisma.$queryRaw`select 1`;
console.log('ready', `http://127.0.0.1:${http.address().port}`);
