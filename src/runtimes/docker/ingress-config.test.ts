import { expect, test } from 'vitest';
import { RuntimeError } from '../runtime.ts';
import {
  epochOf,
  listenPorts,
  renderConfig,
  type ServedPort,
  sameConfig,
  shapeHash,
  unsettled,
} from './ingress-config.ts';

const ONE = { id: '0123456789ab', address: '172.18.0.2', named: true };
const OTHER = { id: 'ba9876543210', address: '172.18.0.3', named: true };

test('should give servers the addresses of now, and none in what is read later', () => {
  const { fresh, resting } = renderConfig([served(8080, 'http', [ONE])], 1);
  const server = '  server 0123456789ab 0123456789ab:80 resolvers engine resolve-prefer ipv4 init-addr';
  expect(fresh).toContain(`${server} 172.18.0.2\n`);
  expect(resting).toContain(`${server} none\n`);
});

test('should not need a name where the network resolves none', () => {
  const { resting } = renderConfig(
    [
      served(8080, 'tcp', [
        { ...ONE, named: false },
        { ...OTHER, address: null, named: false },
      ]),
    ],
    1,
  );
  expect(resting.match(/^ {2}server .*/gm)).toEqual(['  server 0123456789ab 172.18.0.2:80']);
});

test('should put IPv6 addresses into brackets where a port follows', () => {
  const { fresh } = renderConfig([served(8080, 'tcp', [{ ...ONE, address: 'fd00::2', named: false }])], 1);
  expect(fresh).toContain('  server 0123456789ab [fd00::2]:80\n');
});

test('should depend on neither the order of routes nor that of instances', () => {
  const one = renderConfig([served(8080, 'http', [ONE, OTHER]), served(8081, 'tcp', [])], 1);
  const other = renderConfig([served(8081, 'tcp', []), served(8080, 'http', [OTHER, ONE])], 1);
  expect(one).toEqual(other);
});

test('should tell configurations apart, but not by their epochs', () => {
  const config = (epoch: number, servers = [ONE]) => renderConfig([served(8080, null, servers)], epoch);
  expect(sameConfig(config(1).resting, config(2).resting)).toBe(true);
  expect(sameConfig(config(1).resting, config(1, [OTHER]).resting)).toBe(false);
  expect(sameConfig(config(1, []).resting, config(1, []).fresh)).toBe(false);
});

test('should want a configuration again of which it is not known whether it was taken', () => {
  const { resting } = renderConfig([], 3);
  expect(sameConfig(unsettled(resting), resting)).toBe(false);
  expect(epochOf(unsettled(resting))).toBe(3);
});

test('should know the epoch of a configuration of its own alone', () => {
  const { fresh, resting } = renderConfig([], 41);
  expect([fresh, resting, '', 'global\n# epoch 7\n'].map(epochOf)).toEqual([41, 41, 0, 0]);
});

test('should listen at one port for each published port and host', () => {
  const ports = [port(8080, '127.0.0.1'), port(8080, '::1'), port(80), port(80)];
  expect([...listenPorts(ports)]).toEqual([
    ['0.0.0.0 80', 10_001],
    ['127.0.0.1 8080', 10_002],
    ['::1 8080', 10_003],
  ]);
});

test('should make an ingress anew for other ports and for another image, and for nothing else', () => {
  const hash = shapeHash('haproxy', [port(80), port(81)]);
  expect(shapeHash('haproxy', [port(81), port(80)])).toBe(hash);
  expect(shapeHash('haproxy', [{ ...port(80), target: 1 }, port(81)])).toBe(hash);
  expect(shapeHash('haproxy', [port(80)])).not.toBe(hash);
  expect(shapeHash('haproxy', [port(80, '127.0.0.1'), port(81)])).not.toBe(hash);
  expect(shapeHash('another', [port(80), port(81)])).not.toBe(hash);
});

test.each([
  ['two routes of a port', [served(80, 'tcp', []), served(80, 'http', [])]],
  ['UDP', [{ ...served(53, null, []), port: { ...port(53), protocol: 'udp' as const } }]],
  ['a port that is none', [served(65_536, 'tcp', [])]],
  ['a port that is no number', [{ ...served(80, 'tcp', []), port: { ...port(80), target: '80\n  bind :1' as never } }]],
  ['the id of a container that is none', [served(80, 'tcp', [{ ...ONE, id: 'web\n  bind :1' }])]],
  ['an address that is none', [served(80, 'tcp', [{ ...ONE, address: 'example.org' }])]],
] satisfies [string, ServedPort[]][])('should refuse %s', (_, ports) => {
  expect(() => renderConfig(ports, 1)).toThrow(RuntimeError);
});

function port(published: number, host = '0.0.0.0') {
  return { published, target: 80, host, protocol: 'tcp' as const };
}

function served(published: number, protocol: ServedPort['protocol'], servers: ServedPort['servers']): ServedPort {
  return { port: port(published), protocol, servers };
}
