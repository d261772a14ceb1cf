// What Node.js people reach for: `ws` with a Redis subscriber. One message on `all` goes to every socket, one on
// `user:<id>` to that user's. Who a socket is its Authorization header says, unverified.
//
//   node server.mjs REDIS_URL
//
// Prints its port once it listens and hears Redis.
import { createServer } from "node:http";
import { Redis } from "ioredis";
import { WebSocketServer } from "ws";

const redis = new Redis(process.argv[2]);
const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
const users = new Map();

redis.on("messageBuffer", (channel, message) => {
  const topic = channel.toString();
  if (topic === "all") {
    for (const socket of sockets.clients) socket.send(message, { binary: false });
  } else {
    users.get(topic)?.send(message, { binary: false });
  }
});

sockets.on("connection", (socket, request) => {
  const topic = `user:${request.headers.authorization.slice("Bearer ".length)}`;
  socket.once("message", async () => {
    users.set(topic, socket);
    await redis.subscribe(topic);
    socket.send('{"type":"welcome"}');
  });
  socket.on("close", () => users.delete(topic));
  socket.on("error", () => {});
});

await redis.subscribe("all");
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => console.log(server.address().port));
