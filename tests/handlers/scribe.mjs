// A webhook handler that checks the signature as the AI-Scribe guide's sample does: six labelled lines, hexadecimal HMAC-SHA256.
//
// The secret is in HEALTHIE_WEBHOOK_SECRET. Prints {"port": N} and then what it did with each request, one JSON object a line.

import { createHash, createHmac } from 'node:crypto';
import http from 'node:http';

const secret = process.env.HEALTHIE_WEBHOOK_SECRET;

/** Why a request is refused; null if it is what its signature says. */
function refusal({ method, url, headers }, body) {
  const digest = headers['content-digest'];
  if (!digest || !headers['signature-input'] || !headers.signature) return 'signature headers missing';
  if (digest !== `sha-256=:${createHash('sha256').update(body).digest('base64')}:`) return 'digest mismatch';
  const { pathname, search } = new URL(url, 'http://handler.test');
  const signed = [
    `"@method": ${method}`,
    `"@path": ${pathname}`,
    `"@query": ?${search}`,
    `"content-digest": ${digest}`,
    `"content-type": ${headers['content-type']}`,
    `"content-length": ${headers['content-length']}`,
  ].join('\n');
  const expected = createHmac('sha256', secret).update(signed).digest('hex');
  const received = headers.signature.replace(/^[^=]+=:/, '').replace(/:$/, '');
  return expected === received ? null : 'signature mismatch';
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const why = refusal(request, Buffer.concat(parts));
    const status = why ? 401 : 200;
    console.log(JSON.stringify({ status, target: request.url, why }));
    response.writeHead(status, { 'Content-Type': 'text/plain' });
    response.end(why ? 'Invalid signature' : 'OK');
  });
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
