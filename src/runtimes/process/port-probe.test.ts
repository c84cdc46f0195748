import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { expect, it, vi } from 'vitest';
import { portIsFree } from './port-probe.ts';

const HOST = '127.0.0.1';

async function listen(port = 0): Promise<net.Server> {
  const server = net.createServer().listen(port, HOST);
  await once(server, 'listening');
  return server;
}

async function close(server: net.Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

async function freePort(): Promise<number> {
  const server = await listen();
  const { port } = server.address() as net.AddressInfo;
  await close(server);
  return port;
}

it.each([
  'tcp',
  'udp',
] as const)('should give all who ask at once the same answer for a free %s port', async (protocol) => {
  const port = await freePort();
  const hosts = [HOST, '0.0.0.0', HOST, '0.0.0.0', HOST];
  const answers = await Promise.all(hosts.map((host) => portIsFree(host, port, protocol)));
  expect(answers).toEqual(hosts.map(() => true));
});

it('should not take a port for used that another process only tried', async () => {
  const prober = await listen();
  const { port } = prober.address() as net.AddressInfo;
  const pause = vi.fn(() => close(prober));
  expect(await portIsFree(HOST, port, 'tcp', pause)).toBe(true);
  expect(pause).toHaveBeenCalledOnce();
});

it('should tell of a port in use after three attempts', async () => {
  const server = await listen();
  const { port } = server.address() as net.AddressInfo;
  const pause = vi.fn(async () => {});
  const answers = [HOST, HOST, '0.0.0.0'].map((host) => portIsFree(host, port, 'tcp', pause));
  expect(await Promise.all(answers)).toEqual([false, false, false]);
  expect(pause).toHaveBeenCalledTimes(4);
  await close(server);
  expect(await portIsFree(HOST, port, 'tcp')).toBe(true);
});

it('should try once where the host does not have the address', async () => {
  const pause = vi.fn(async () => {});
  expect(await portIsFree('192.0.2.1', await freePort(), 'tcp', pause)).toBe(false);
  expect(pause).not.toHaveBeenCalled();
});

it('should know the protocols apart', async () => {
  const socket = dgram.createSocket('udp4').bind(0, HOST);
  await once(socket, 'listening');
  const { port } = socket.address();
  const answers = await Promise.all([portIsFree(HOST, port, 'udp'), portIsFree(HOST, port, 'tcp')]);
  socket.close();
  expect(answers).toEqual([false, true]);
});
