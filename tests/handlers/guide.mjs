// A webhook handler that checks the signature as Healthie's developer guide does: one line of six parts, hexadecimal HMAC-SHA256,
// the length taken from the JSON written out again, the comparison a plain one.
//
// The secret is in HEALTHIE_WEBHOOK_SECRET. Prints {"port": N} and then what it did with each request, one JSON object a line.

import { createHash, createHmac } from 'node:crypto';
import http from 'node:http';

const secret = process.env.HEALTHIE_WEBHOOK_SECRET;

/** Why a request is refused; null if it is what its signature says. */
function refusal(request, raw) {
  const { 'content-digest': contentDigest, 'signature-input': input, signature, 'content-type': type } = request.headers;
  if (!contentDigest || !input || !signature) return 'signature headers missing';
  const digest = contentDigest.slice(contentDigest.indexOf('=') + 1);
  const unpadded = (text) => text.replace(/=+$/, '');
  if (unpadded(digest) !== unpadded(createHash('sha256').update(raw).digest('base64'))) return 'digest mismatch';
  const [path, ...query] = request.url.split('?');
  const length = JSON.stringify(JSON.parse(raw)).length;
  const signed = [request.method.toLowerCase(), path, query.join('?'), digest, type, length].join(' ');
  const expected = createHmac('sha256', secret).update(signed).digest('hex');
  return signature.split('=')[1] === expected ? null : 'signature mismatch';
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    let why;
    try {
      why = refusal(request, Buffer.concat(parts));
    } catch (error) {
      why = String(error);
    }
    const status = why ? 401 : 200;
    console.log(JSON.stringify({ status, target: request.url, why }));
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ ok: !why, why }));
  });
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
