"""grpcio against a fleetd that runs: `python clients.py GIVEN.json`, see ../interop.rs.

Messages come from the server's own descriptor set; nothing is generated.
"""

import json
import sys
import threading

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import proto_reflection_descriptor_database as reflection

TIMEOUT = 20

with open(sys.argv[1], encoding="utf-8") as file:
    GIVEN = json.load(file)
POOL = descriptor_pool.DescriptorPool()
FILES = descriptor_pb2.FileDescriptorSet()
with open(GIVEN["descriptors"], "rb") as file:
    FILES.ParseFromString(file.read())
for described in FILES.file:
    POOL.AddSerializedFile(described.SerializeToString())


def message(name, **fields):
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))(**fields)


def say(what):
    print(f"grpcio {what}", flush=True)


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"{found!r} is not {expected!r}")


class Service:
    """Calls by the descriptors of a service."""

    def __init__(self, channel, name, token=None):
        self.channel = channel
        self.descriptor = POOL.FindServiceByName(name)
        self.metadata = [("authorization", f"Bearer {token}")] if token else []

    def call(self, method, request):
        found = self.descriptor.methods_by_name[method]
        answer = message_factory.GetMessageClass(found.output_type)
        kind = ("stream" if found.client_streaming else "unary") + (
            "_stream" if found.server_streaming else "_unary"
        )
        make = getattr(self.channel, kind)
        callable_ = make(
            f"/{self.descriptor.full_name}/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return callable_(request, metadata=self.metadata, timeout=TIMEOUT)


def refused(code, says, call):
    try:
        answer = call()
    except grpc.RpcError as error:
        equal(error.code(), code)
        if says not in error.details():
            raise AssertionError(f"{error.details()!r} does not say {says!r}") from error
        return
    raise AssertionError(f"not refused but answered {answer}")


class Bearer(grpc.StreamStreamClientInterceptor):
    """Reflection's client takes no credentials."""

    def __init__(self, token):
        self.metadata = [("authorization", f"Bearer {token}")]

    def intercept_stream_stream(self, continuation, details, requests):
        details = details._replace(metadata=[*(details.metadata or []), *self.metadata])
        return continuation(details, requests)


def calls(channel):
    nobody = Service(channel, "fleet.v1.OperatorService")
    request = message("fleet.v1.LoginRequest", user_name=GIVEN["user"], password=GIVEN["password"])
    token = nobody.call("Login", request).session_token
    equal(len(token), 43)
    alice = Service(channel, "fleet.v1.OperatorService", token)
    who = alice.call("WhoAmI", message("fleet.v1.WhoAmIRequest"))
    equal((who.user_name, who.organization), (GIVEN["user"], GIVEN["organization"]))
    say("unary")

    refused(
        grpc.StatusCode.UNAUTHENTICATED,
        "",
        lambda: nobody.call("WhoAmI", message("fleet.v1.WhoAmIRequest")),
    )
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        "user_name",
        lambda: nobody.call("Login", message("fleet.v1.LoginRequest", password="x")),
    )
    say("refused")
    return token


def health(channel):
    service = Service(channel, "grpc.health.v1.Health")

    def check(name):
        return service.call("Check", message("grpc.health.v1.HealthCheckRequest", service=name))

    for name in ["", "agentgateway.v1.AgentGatewayService"]:
        equal(check(name).status, 1)
    equal(service.call("List", message("grpc.health.v1.HealthListRequest")).statuses[""].status, 1)
    refused(grpc.StatusCode.NOT_FOUND, "no such service", lambda: check("fleet.v1.Nothing"))
    refused(
        grpc.StatusCode.UNIMPLEMENTED,
        "Check",
        lambda: list(service.call("Watch", message("grpc.health.v1.HealthCheckRequest"))),
    )
    say("health")


def upload(gateway):
    now = {"seconds": GIVEN["now_ms"] // 1000, "nanos": GIVEN["now_ms"] % 1000 * 1_000_000}
    discovered = {"endpoint": "sn:grpcio", "address": "10.0.0.7:80", "driver": "proto"}
    batch = message("fleet.v1.EventBatch", events=[{"at": now, "discovered": discovered}])
    payload = batch.SerializeToString()

    def uploads(*sequences):
        for sequence in sequences:
            yield message(
                "agentgateway.v1.UploadEventsRequest",
                payload=payload,
                captured_at=now,
                sequence=sequence,
            )

    stored = gateway.call("UploadEvents", uploads(1, 2))
    equal((stored.accepted_count, stored.rejected_count, stored.durable_sequence), (2, 0, 2))
    refused(
        grpc.StatusCode.INVALID_ARGUMENT, "sequence", lambda: gateway.call("UploadEvents", uploads(3, 3))
    )
    say("upload")


def control(gateway):
    finish = threading.Event()

    def requests():
        yield message("agentgateway.v1.ControlStreamRequest", hello={"agent_version": "0.1.0"})
        # The answer comes while this side is still open.
        finish.wait(TIMEOUT)

    kinds = []
    for answer in gateway.call("ControlStream", requests()):
        kinds.append(answer.WhichOneof("kind"))
        equal(answer.accepted.server_time.seconds, GIVEN["now_ms"] // 1000)
        finish.set()
    equal(kinds, ["accepted"])
    say("control")


def reflect(channel, token):
    refused(
        grpc.StatusCode.UNAUTHENTICATED,
        "",
        lambda: list(reflection.ProtoReflectionDescriptorDatabase(channel).get_services()),
    )
    database = reflection.ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, Bearer(token)))
    listed = set(database.get_services())
    ours = {
        f"{file.package}.{service.name}"
        for file in FILES.file
        for service in file.service
    }
    if not ours <= listed:
        raise AssertionError(f"{ours - listed} is not listed")
    pool = descriptor_pool.DescriptorPool(database)
    for name in sorted(ours):
        found = [method.name for method in pool.FindServiceByName(name).methods]
        equal(found, [method.name for method in POOL.FindServiceByName(name).methods])
    say("reflection")


def connect():
    # A proxy of the environment has no business on the loopback.
    options = [("grpc.enable_http_proxy", 0)]
    if not GIVEN["ca"]:
        return grpc.insecure_channel(GIVEN["address"], options=options)
    with open(GIVEN["ca"], "rb") as file:
        credentials = grpc.ssl_channel_credentials(root_certificates=file.read())
    return grpc.secure_channel(GIVEN["address"], credentials, options=options)


def main():
    with connect() as channel:
        token = calls(channel)
        health(channel)
        gateway = Service(channel, "agentgateway.v1.AgentGatewayService", GIVEN["session"])
        upload(gateway)
        control(gateway)
        reflect(channel, token)


main()
