// Mercurius' subscriptions over its own emitter.
import fastify from 'fastify';
import mercurius from 'mercurius';
import { batch, serve, TYPES } from './lines.mjs';

const app = fastify();
app.register(mercurius, {
  schema: TYPES,
  jit: 1,
  resolvers: {
    LogLine: { timestamp: ({ timestamp }) => timestamp.toISOString() },
    Subscription: {
      deploymentLogs: {
        subscribe: (_root, _args, { pubsub }) => pubsub.subscribe('lines'),
        resolve: (item) => item,
      },
    },
  },
  subscription: true,
});
await app.ready();
serve(app.server, (lines) => app.graphql.pubsub.publish({ topic: 'lines', payload: batch(lines) }));
