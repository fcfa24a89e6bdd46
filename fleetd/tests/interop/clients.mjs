// connect-node against a fleetd that runs: `node clients.mjs GIVEN.json`, see ../interop.rs.
//
// Descriptors come from the server's own descriptor set; nothing is generated.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { create, createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";

const given = JSON.parse(readFileSync(process.argv[2], "utf8"));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(given.descriptors)));
const baseUrl = `${given.ca ? "https" : "http"}://${given.address}`;
const nodeOptions = given.ca ? { ca: readFileSync(given.ca) } : {};
const now = { seconds: BigInt(given.now_ms) / 1000n, nanos: Number(BigInt(given.now_ms) % 1000n) * 1_000_000 };

const ways = {
    "connect-h2": { make: createConnectTransport, options: { httpVersion: "2" }, bidi: true },
    "connect-h2-json": { make: createConnectTransport, options: { httpVersion: "2", useBinaryFormat: false }, bidi: true },
    "connect-h1": { make: createConnectTransport, options: { httpVersion: "1.1" } },
    "connect-h1-json": { make: createConnectTransport, options: { httpVersion: "1.1", useBinaryFormat: false } },
    "grpc-h2": { make: createGrpcTransport, options: { httpVersion: "2" }, bidi: true },
    "grpc-h2-json": { make: createGrpcTransport, options: { httpVersion: "2", useBinaryFormat: false }, bidi: true },
    "grpc-web-h2": { make: createGrpcWebTransport, options: { httpVersion: "2" }, bidi: true },
    "grpc-web-h1": { make: createGrpcWebTransport, options: { httpVersion: "1.1" } },
};

async function refused(code, says, call) {
    const error = await call.then((answer) => assert.fail(`not refused but answered ${answer}`), ConnectError.from);
    assert.equal(Code[error.code], Code[code], error.message);
    assert.ok(error.rawMessage.includes(says), error.rawMessage);
}

async function all(name, way, sequence) {
    const service = (service, token) => {
        const bearer = (next) => (request) => {
            if (token) request.header.set("authorization", `Bearer ${token}`);
            return next(request);
        };
        const common = { baseUrl, nodeOptions, interceptors: [bearer], defaultTimeoutMs: 20_000 };
        const transport = way.make({ ...common, ...way.options });
        return createClient(registry.getService(service), transport);
    };
    const say = (what) => console.log(`${name} ${what}`);

    const nobody = service("fleet.v1.OperatorService");
    const login = await nobody.login({ userName: given.user, password: given.password });
    assert.equal(login.sessionToken.length, 43);
    const alice = service("fleet.v1.OperatorService", login.sessionToken);
    const who = await alice.whoAmI({});
    assert.deepEqual([who.userName, who.organization], [given.user, given.organization]);
    say("unary");

    await refused(Code.Unauthenticated, "", nobody.whoAmI({}));
    await refused(Code.InvalidArgument, "user_name", nobody.login({ userName: "", password: "x" }));
    say("refused");

    const health = service("grpc.health.v1.Health");
    const serving = registry.getEnum("grpc.health.v1.HealthCheckResponse.ServingStatus").value;
    for (const service of ["", "fleet.v1.OperatorService"]) {
        const { status } = await health.check({ service });
        assert.equal(serving[status].name, "SERVING", service);
    }
    assert.equal(serving[(await health.list({})).statuses[""].status].name, "SERVING");
    await refused(Code.NotFound, "no such service", health.check({ service: "fleet.v1.Nothing" }));
    const watch = (async () => {
        for await (const answer of health.watch({})) return answer;
    })();
    await refused(Code.Unimplemented, "Check", watch);
    say("health");

    const gateway = service("agentgateway.v1.AgentGatewayService", given.session);
    const batch = registry.getMessage("fleet.v1.EventBatch");
    const payload = toBinary(batch, create(batch, {
        events: [{
            at: now,
            kind: { case: "discovered", value: { endpoint: `sn:${name}`, address: "10.0.0.7:80", driver: "proto" } },
        }],
    }));
    const uploads = async function* () {
        for (const step of [1n, 2n]) yield { payload, capturedAt: now, sequence: sequence + step };
    };
    const stored = await gateway.uploadEvents(uploads());
    assert.deepEqual(
        [stored.acceptedCount, stored.rejectedCount, stored.durableSequence],
        [2n, 0n, sequence + 2n],
    );
    const backwards = async function* () {
        yield { payload, capturedAt: now, sequence: sequence + 3n };
        yield { payload, capturedAt: now, sequence: sequence + 3n };
    };
    await refused(Code.InvalidArgument, "sequence", gateway.uploadEvents(backwards()));
    say("upload");

    if (!way.bidi) return;
    let finish;
    const finished = new Promise((resolve) => (finish = resolve));
    const hello = async function* () {
        yield { kind: { case: "hello", value: { agentVersion: "0.1.0" } } };
        // The answer comes while this side is still open.
        await finished;
    };
    const kinds = [];
    for await (const { kind } of gateway.controlStream(hello(), { timeoutMs: 20_000 })) {
        kinds.push(kind.case);
        assert.deepEqual([kind.value.serverTime.seconds, kind.value.serverTime.nanos], [now.seconds, now.nanos]);
        finish();
    }
    assert.deepEqual(kinds, ["accepted"]);
    say("control");
}

let sequence = 0n;
for (const [name, way] of Object.entries(ways)) {
    await all(name, way, sequence);
    sequence += 10n;
}
// HTTP/2 connections would stay open.
process.exit(0);
