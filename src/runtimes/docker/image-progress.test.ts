import { describe, expect, it } from 'vitest';
import { BuildLines, PullProgress } from './image-progress.ts';

describe('what is told of a pull', () => {
  it('should be one line now and then, for all layers together', () => {
    let now = 0;
    const progress = new PullProgress(() => now);
    const take = (ms: number, id: string, status: string, current = 0, total = 0) => {
      now += ms;
      return progress.take({ id, status, progressDetail: { current, total } });
    };
    expect(take(1_500, '1.27', 'Pulling from library/nginx')).toBeNull();
    expect(take(0, 'a', 'Downloading', 1e6, 4e6)).toBe('0 of 1 layers, 1.0 of 4.0 MB');
    expect(take(100, 'b', 'Downloading', 1e6, 2e6)).toBeNull();
    expect(take(900, 'a', 'Download complete')).toBe('0 of 2 layers, 5.0 of 6.0 MB');
    expect(take(1_000, 'a', 'Pull complete')).toBe('1 of 2 layers, 5.0 of 6.0 MB');
    expect(take(1_000, 'a', 'Pull complete')).toBeNull();
  });
});

describe('what is told of a build', () => {
  it('should be whole lines, without colours', () => {
    const lines = new BuildLines();
    expect(lines.push('Step 1/2 : FROM')).toEqual([]);
    expect(lines.push(' busybox\n\n\u001b[91mwarning\u001b[0m\r\nlast')).toEqual([
      'Step 1/2 : FROM busybox',
      'warning',
    ]);
    expect(lines.finish()).toEqual(['last']);
  });
});
