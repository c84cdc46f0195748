// The shortest way there is: a program's pipe, read by the line, each line broadcast with ws.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { WebSocketServer } from 'ws';

const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
const writer = spawn(process.execPath, ['-e', process.argv[2] ?? ''], { stdio: ['ignore', 'pipe', 'inherit'] });
createInterface({ input: writer.stdout }).on('line', (message) => {
  const text = JSON.stringify({ message });
  for (const socket of sockets.clients) socket.send(text);
});
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
process.on('disconnect', () => {
  writer.kill('SIGKILL');
  process.exit(0);
});
