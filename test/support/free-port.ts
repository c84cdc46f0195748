import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Below it the first thousands belong to well-known programs. */
const LOWEST = 10_000;

/**
 * A port that nobody listens on at present, on any address. It lies below those that the kernel gives to connections, so that it is
 * still free a moment later, whatever connects in between.
 */
export async function freePort(protocol: 'tcp' | 'udp' = 'tcp'): Promise<number> {
  // proc_sys_net_ipv4(5)
  const [limit] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/).map(Number);
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (limit! - LOWEST));
    if (await isFree(protocol, port)) return port;
  }
}

async function isFree(protocol: 'tcp' | 'udp', port: number): Promise<boolean> {
  const probe = protocol === 'tcp' ? createServer().listen(port) : createSocket('udp4').bind(port);
  try {
    await once(probe, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  }
  probe.close();
  await once(probe, 'close');
  return true;
}
