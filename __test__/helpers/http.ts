import { request as requestPlain } from 'node:http';
import { request as requestTls } from 'node:https';
import type { Target } from './wire.js';

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

/** One request on a connection of its own. */
export function ask(
  { host, port, tls }: Target,
  path: string,
  {
    method = 'GET',
    headers = {},
    body = '',
  }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const options = {
    host,
    port,
    path,
    method,
    headers,
    agent: false,
    ...(tls && { rejectUnauthorized: false, ...tls }),
  };
  return new Promise((resolve, reject) => {
    const request = (tls ? requestTls : requestPlain)(options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}
