import { describe, expect, it } from 'vitest';
import { proxyFor } from '../../../../src/control/admission/proxy.js';

const PROXY = 'http://proxy.test:3128';

function through(url: string, env: Record<string, string>): string | undefined {
  return proxyFor(new URL(url), env)?.href;
}

describe('proxyFor', () => {
  it.each<[string, Record<string, string>, string | undefined]>([
    ['http://a.test/', {}, undefined],
    ['http://a.test/', { HTTP_PROXY: PROXY }, `${PROXY}/`],
    ['http://a.test/', { http_proxy: PROXY }, `${PROXY}/`],
    ['http://a.test/', { HTTP_PROXY: PROXY, http_proxy: 'http://other.test' }, `${PROXY}/`],
    ['http://a.test/', { HTTPS_PROXY: PROXY, ALL_PROXY: PROXY }, undefined],
    ['https://a.test/', { HTTPS_PROXY: PROXY }, `${PROXY}/`],
    ['https://a.test/', { HTTP_PROXY: PROXY }, undefined],
    ['https://a.test/', { HTTPS_PROXY: 'proxy.test:3128' }, `${PROXY}/`],
    ['https://a.test/', { HTTPS_PROXY: 'https://proxy.test' }, 'https://proxy.test/'],
    ['https://a.test/', { HTTPS_PROXY: ':' }, undefined],
    ['https://a.test/', { HTTPS_PROXY: 'socks5://u:p@proxy.test' }, 'socks5://u:p@proxy.test'],
    ['http://a.test/', { HTTP_PROXY: 'SOCKS5H://[::1]:9' }, 'socks5h://[::1]:9'],
    ['http://localhost:8080/', { HTTP_PROXY: PROXY }, undefined],
    ['http://127.1.2.3/', { HTTP_PROXY: PROXY }, undefined],
    ['http://[::1]/', { HTTP_PROXY: PROXY }, undefined],
    ['http://10.0.0.1/', { HTTP_PROXY: PROXY }, `${PROXY}/`],
  ])('the proxy for %s follows the environment as in Go: %j', (url, env, expected) => {
    expect(through(url, env)).toBe(expected);
  });

  it.each<[string, string, boolean]>([
    ['http://a.test/', '*', false],
    ['http://a.test/', 'a.test', false],
    ['http://b.a.test/', 'a.test', false],
    ['http://b.a.test/', ' x, .a.test ', false],
    ['http://b.a.test/', '*.a.test', false],
    ['http://a.test/', '.a.test', true],
    ['http://xa.test/', 'a.test', true],
    ['http://a.test/', 'a.test:80', false],
    ['http://a.test/', 'a.test:81', true],
    ['http://a.test:81/', 'a.test:81', false],
    ['http://10.1.2.3/', '10.0.0.0/8', false],
    ['http://11.1.2.3/', '10.0.0.0/8', true],
    ['http://10.1.2.3/', '10.1.2.3', false],
    ['http://10.1.2.3/', '10.1.2.3:80', false],
    ['http://10.1.2.3/', '10.1.2.3:81', true],
    ['http://10.1.2.3/', '1.2.3', true],
    ['http://[fd00::1]/', 'fd00::/8', false],
    ['http://[fd00::1]/', 'fd00::1', false],
    ['http://[fd00::1]/', '[fd00::1]:80', false],
    ['http://[fd00::1]/', '[fd00::1]:', false],
    ['http://[fd00::1]/', '[fd00::1]', true],
    ['http://[fd00::1]/', 'fc00::/7', false],
    ['http://[fd00::1]/', 'f000::/5', true],
    ['http://192.0.2.1/', '::/0', true],
    ['http://192.0.2.1/', '::/96', true],
    ['http://[fd00::1]/', '::/0', false],
    ['http://[fd00::1]/', '0.0.0.0/0', true],
    ['http://192.0.2.1/', '0.0.0.0/0', false],
    ['http://[::ffff:192.0.2.1]/', '0.0.0.0/0', false],
    ['http://[::ffff:192.0.2.1]/', '::/0', true],
    ['http://192.0.2.1/', '::ffff:0:0/96', false],
    ['http://[::ffff:192.0.2.1]/', '::ffff:0:0/96', false],
    ['http://192.0.2.1/', '::ffff:192.0.2.0/120', false],
    ['http://192.0.3.1/', '::ffff:192.0.2.0/120', true],
    ['http://192.0.2.1/', '::ffff:0:0/90', true],
    ['http://192.0.2.1/', '::ffff:192.0.2.1', false],
    ['http://[::ffff:192.0.2.1]/', '192.0.2.1', false],
    ['http://192.0.2.1/', '[::ffff:192.0.2.1]:80', false],
    ['http://a.test/', ',:80,', true],
    ['http://a.test/', 'A.TEST', false],
    ['http://a.test/', '*.a.test', true],
    ['http://x.a.test/', 'x*.a.test', true],
    ['http://a.test/', 'a.test:x', true],
    ['http://a.test/', 'a.test:80x', true],
    ['http://a.test/', '10.0.0.0/8', true],
    ['http://a.test/', '10.0.0.1', true],
    ['http://127.0.0.test/', 'x', true],
    ['http://10.1.2.3/', '10.1.2.3/32', false],
    ['http://10.1.2.3/', '10.1.2.3/33', true],
    ['http://10.1.2.3/', 'x/10.0.0.0/8', true],
    ['http://10.1.2.3/', '10.0.0.0/8x', true],
    ['http://10.1.2.4/', '10.1.2.3', true],
    ['http://[fd00::1]/', 'fd00::1/128', false],
    ['http://[fd00::1]/', 'fd00::1/129', true],
    ['http://[fd00::1]/', 'fd00::2', true],
    ['http://[fd00::1]/', 'x[fd00::1]:80', true],
    ['http://[fd00::1]/', '[fd00::1]:81', true],
    ['http://[fd00::ffff:102:304]/', 'fd00::/8', false],
    ['http://[::1:2]/', '::/64', false],
  ])('the proxy for %s follows the environment as in Go: NO_PROXY=%s', (url, noProxy, proxied) => {
    expect(through(url, { HTTP_PROXY: PROXY, NO_PROXY: noProxy }) !== undefined).toBe(proxied);
  });

  it('a port of NO_PROXY is the one of HTTPS, too', () => {
    const proxied = (noProxy: string) => through('https://a.test/', { HTTPS_PROXY: PROXY, NO_PROXY: noProxy });
    expect([proxied('a.test:443'), proxied('a.test:80')]).toEqual([undefined, `${PROXY}/`]);
  });

  it.each<[string, Record<string, string>, string | undefined]>([
    ['https://a.test/', { HTTPS_PROXY: PROXY, REQUEST_METHOD: 'GET' }, `${PROXY}/`],
    ['http://a.test/', { REQUEST_METHOD: 'GET' }, undefined],
    ['http://a.test/', { HTTP_PROXY: PROXY, NO_PROXY: '*', REQUEST_METHOD: 'GET' }, undefined],
    ['http://a.test/', { HTTP_PROXY: 'proxy.test:3128/?ftp://x' }, `${PROXY}/?ftp://x`],
  ])('the proxy for %s is looked for where it counts: %j', (url, env, expected) => {
    expect(through(url, env)).toBe(expected);
  });

  it.each(['xhttp', 'httpx', 'socks6', 'x+y-1.2'])('a proxy may not speak %s', (scheme) => {
    expect(() => through('http://a.test/', { HTTP_PROXY: `${scheme}://proxy.test` })).toThrow(
      new Error(`HTTP_PROXY names a proxy that speaks ${scheme}; it has to be http, https, socks5 or socks5h`),
    );
  });

  it('an unusable proxy is an error that does not quote a password', () => {
    const socks = () => through('http://a.test/', { HTTP_PROXY: 'socks4://user:secret@proxy.test' });
    expect(socks).toThrow(/HTTP_PROXY names a proxy that speaks socks4; it has to be http, https, socks5 or socks5h/);
    expect(socks).not.toThrow(/secret/);
    expect(() => through('http://a.test/', { HTTP_PROXY: PROXY, REQUEST_METHOD: 'GET' })).toThrow(/REQUEST_METHOD/);
  });
});
