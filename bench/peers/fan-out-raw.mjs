// The limit: every socket is sent the same ready message.
import { createServer } from 'node:http';
import { Sender, WebSocket, WebSocketServer } from 'ws';
import { batch, serve } from './lines.mjs';

const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false, clientTracking: true });
const id = '00000000-0000-4000-8000-000000000000';
/** "frame": the whole frame is made once and written as it is; "send": what one writes with ws. */
const [, , way = 'send'] = process.argv;

serve(server, (lines) => {
  const message = Buffer.from(
    JSON.stringify({ id, type: 'next', payload: { data: { deploymentLogs: batch(lines) } } }),
  );
  if (way === 'send') {
    for (const socket of sockets.clients)
      if (socket.readyState === WebSocket.OPEN) socket.send(message, { binary: false });
    return;
  }
  const frame = Buffer.concat(Sender.frame(message, { fin: true, opcode: 1, mask: false, readOnly: true }));
  for (const socket of sockets.clients) if (socket.readyState === WebSocket.OPEN) socket._socket.write(frame);
});
