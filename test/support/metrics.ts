/** What a server's metrics say: the value of a series, with its labels as they are printed; NaN where there is none. */
export async function readMetric(server: string | URL, series: string): Promise<number> {
  const text = await (await fetch(new URL('/metrics', server))).text();
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? Number.NaN);
}
