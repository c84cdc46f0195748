import { describe, expect, it } from 'vitest';
import { formatPort, type PortMapping } from './model.ts';
import { said, service } from './testing.ts';

const port = (target: number, more: Partial<PortMapping> = {}): PortMapping => ({
  target,
  published: null,
  publishedEnd: null,
  hostIp: null,
  protocol: 'tcp',
  ...more,
});

describe('ports', () => {
  it.each([
    ['3000', [port(3000)]],
    ['"3000"', [port(3000)]],
    ['"8000:80"', [port(80, { published: 8000 })]],
    ['"53:53/udp"', [port(53, { published: 53, protocol: 'udp' })]],
    ['"3000-3001"', [port(3000), port(3001)]],
    ['"9090-9091:8080-8081"', [port(8080, { published: 9090 }), port(8081, { published: 9091 })]],
    ['"8000-8010:80"', [port(80, { published: 8000, publishedEnd: 8010 })]],
    ['"127.0.0.1:8001:8001"', [port(8001, { published: 8001, hostIp: '127.0.0.1' })]],
    ['"127.0.0.1::5000"', [port(5000, { hostIp: '127.0.0.1' })]],
    ['"[::1]:6000:6000"', [port(6000, { published: 6000, hostIp: '::1' })]],
    ['"::1:6000:6000"', [port(6000, { published: 6000, hostIp: '::1' })]],
    ['"0:80"', [port(80)]],
    ['{ target: 80, published: "8080" }', [port(80, { published: 8080 })]],
    [
      '{ target: 80, published: 8000-8002, protocol: UDP }',
      [port(80, { published: 8000, publishedEnd: 8002, protocol: 'udp' })],
    ],
    ['{ target: "80", host_ip: "::", mode: host }', [port(80, { hostIp: '::' })]],
  ])('should read %s', (entry, expected) => {
    const ports = service(`ports: [${entry}]`).ports;
    expect(ports).toEqual(expected);
    const again = service(`ports: [${ports.map((mapping) => JSON.stringify(formatPort(mapping))).join()}]`).ports;
    expect(again).toEqual(ports);
  });

  it.each([
    '"x"',
    '"80:"',
    '":80:"',
    '"80:80:80:80"',
    '"80:70000"',
    '"8000-8001:80-82"',
    '"81-80"',
    '"0"',
    '"256.0.0.1:80:80"',
    '"[x]:80:80"',
    '"80:80/tcp/udp"',
    '"127.0.0.1:80"',
    '{ published: 80 }',
    '{ target: 80, published: x }',
    '{ target: 80, host_ip: x }',
  ])('should refuse %s', (entry) => {
    expect(said(`ports: [${entry}]`).map((line) => line.split(' ')[2])).toEqual(['port-invalid']);
  });

  it('should refuse other protocols', () => {
    expect(said('ports: ["80:80/sctp"]')).toEqual(['4:13 ERROR port-protocol']);
  });

  it('should bound the ports of a service', () => {
    expect(said('ports: ["1-65535"]')).toEqual(['4:13 ERROR port-invalid']);
    expect(said('ports: ["1-1000", "2001-2002"]')).toEqual(['4:23 ERROR too-many-ports']);
  });

  it('should count the same mapping once, however it is written', () => {
    expect(service('ports: ["80:80", "80:80/tcp", { target: 80, published: 80 }]').ports).toHaveLength(1);
    expect(said('ports: ["80:80", "80:80"]')).toEqual(['4:5 WARNING schema-duplicate']);
  });

  it('should find ports of the host that are published twice', () => {
    expect(said('ports: ["80:80", "127.0.0.1:80:81"]')).toEqual(['4:22 WARNING port-duplicate']);
    expect(said('ports: ["127.0.0.1:80:80", "80:81"]')).toEqual(['4:32 WARNING port-duplicate']);
    expect(said('ports: ["127.0.0.1:80:80", "127.0.0.2:80:80", "80:80/udp", "90:80"]')).toEqual([]);
  });

  it('should warn of replicas that would share a port', () => {
    expect(said('ports: ["80:80"]\nscale: 2')).toEqual(['4:13 WARNING replicas-port']);
    expect(said('ports: ["80-82:80"]\nscale: 3')).toEqual([]);
    expect(said('ports: ["80-82:80"]\nscale: 4')).toEqual(['4:13 WARNING replicas-port']);
    expect(said('ports: ["80"]\nscale: 9')).toEqual([]);
  });

  it('should refuse both where there is one host', () => {
    const errors = (lines: string) =>
      said(`command: x\n${lines}`, { runtime: 'PROCESS' }).filter((line) => line.includes('ERROR'));
    expect(errors('ports: ["8080:80", "8080:81"]')).toEqual(['5:24 ERROR port-duplicate']);
    expect(errors('ports: ["8080:80"]\nscale: 2')).toEqual(['5:13 ERROR replicas-port']);
  });
});
