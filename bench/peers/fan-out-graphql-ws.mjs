// graphql-ws as it comes: each subscriber's iterator, execution and serialisation.
import { EventEmitter, on } from 'node:events';
import { createServer } from 'node:http';
import { buildSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';
import { batch, serve, TYPES } from './lines.mjs';

const topic = new EventEmitter().setMaxListeners(0);
const schema = buildSchema(TYPES);
const field = schema.getSubscriptionType().getFields().deploymentLogs;
field.subscribe = async function* subscribe() {
  for await (const [item] of on(topic, 'lines')) yield item;
};
field.resolve = (item) => item;
schema.getType('LogLine').getFields().timestamp.resolve = ({ timestamp }) => timestamp.toISOString();

const server = createServer();
useServer({ schema }, new WebSocketServer({ server, path: '/graphql', perMessageDeflate: false }));
serve(server, (lines) => topic.emit('lines', batch(lines)));
