import { Agent, request } from 'node:http';
import type { Load, LoadResult } from './load.ts';

process.on('message', (load: Load) => {
  run(load).then(
    (result) => process.send?.(result),
    (error: Error) => process.send?.({ error: error.message }),
  );
});

async function run(load: Load): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: load.connections });
  const latencies: number[] = [];
  let left = load.requests;
  const connection = async () => {
    while (left-- > 0) latencies.push(await send(load, agent));
  };
  await Promise.all(Array.from({ length: load.connections }, connection));
  agent.destroy();
  return { latencies };
}

function send({ url, headers, body }: Load, agent: Agent): Promise<number> {
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', headers, agent }, (response) => {
      const isFine = response.statusCode === 200;
      let failure = '';
      response.on('data', (bytes: Buffer) => {
        if (!isFine) failure += bytes.toString();
      });
      response.once('end', () => {
        if (isFine) resolve(performance.now() - begun);
        else reject(new Error(`${url} answered ${response.statusCode}: ${failure}`));
      });
    });
    sent.once('error', reject);
    sent.end(body);
  });
}
