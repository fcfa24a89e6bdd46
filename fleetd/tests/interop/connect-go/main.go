// connect-go against a fleetd that runs: `connect-go GIVEN.json`, see ../../interop.rs.
//
// Messages come from the server's own descriptor set; nothing is generated.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const timeout = 20 * time.Second

// Given is what the test says of its server. Without CA it speaks in clear.
type Given struct {
	Address      string `json:"address"`
	User         string `json:"user"`
	Organization string `json:"organization"`
	Password     string `json:"password"`
	Session      string `json:"session"`
	NowMs        int64  `json:"now_ms"`
	Descriptors  string `json:"descriptors"`
	CA           string `json:"ca"`
}

func (given Given) now() time.Time {
	return time.UnixMilli(given.NowMs).UTC()
}

// Way is one way of calling.
type Way struct {
	name    string
	http    int
	options []connect.ClientOption
}

var (
	asJSON  = connect.WithProtoJSON()
	grpc    = connect.WithGRPC()
	grpcWeb = connect.WithGRPCWeb()
)

var ways = []Way{
	{"connect-h2", 2, nil},
	{"connect-h2-json", 2, []connect.ClientOption{asJSON}},
	{"connect-h1", 1, nil},
	{"connect-h1-json", 1, []connect.ClientOption{asJSON}},
	{"grpc-h2", 2, []connect.ClientOption{grpc}},
	{"grpc-h2-json", 2, []connect.ClientOption{grpc, asJSON}},
	{"grpc-web-h2", 2, []connect.ClientOption{grpcWeb}},
	{"grpc-web-h1", 1, []connect.ClientOption{grpcWeb}},
}

// Transport speaks one version of HTTP and takes no answer in another.
type Transport struct {
	major int
	inner http.Transport
}

func newTransport(given Given, major int) (*Transport, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(major == 1)
	protocols.SetHTTP2(major == 2 && given.CA != "")
	protocols.SetUnencryptedHTTP2(major == 2 && given.CA == "")
	// It names no proxy: one of the environment has no business on the loopback.
	transport := &Transport{major: major, inner: http.Transport{Protocols: protocols}}
	if given.CA != "" {
		pem, err := os.ReadFile(given.CA)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", given.CA)
		}
		transport.inner.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return transport, nil
}

func (transport *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := transport.inner.RoundTrip(request)
	if err == nil && response.ProtoMajor != transport.major {
		response.Body.Close()
		return nil, fmt.Errorf("answered in %s", response.Proto)
	}
	return response, err
}

// Fields are those of a message, as in its JSON.
type Fields = map[string]any

func message(descriptor protoreflect.MessageDescriptor, fields Fields) (*dynamicpb.Message, error) {
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	made := dynamicpb.NewMessage(descriptor)
	err = protojson.Unmarshal(text, made)
	return made, err
}

func fields(message *dynamicpb.Message) (Fields, error) {
	text, err := protojson.Marshal(message)
	if err != nil {
		return nil, err
	}
	var found Fields
	err = json.Unmarshal(text, &found)
	return found, err
}

func equal(found, expected any) error {
	if !reflect.DeepEqual(found, expected) {
		return fmt.Errorf("%v is not %v", found, expected)
	}
	return nil
}

// Requires that a call failed because the server said so.
func refused(code connect.Code, says string, answer Fields, err error) error {
	if err == nil {
		return fmt.Errorf("not refused but answered %v", answer)
	}
	var refusal *connect.Error
	if !errors.As(err, &refusal) || !connect.IsWireError(err) {
		return fmt.Errorf("not the server's word: %w", err)
	}
	if refusal.Code() != code || !strings.Contains(refusal.Message(), says) {
		return fmt.Errorf("neither %v nor %q: %w", code, says, err)
	}
	return nil
}

// Client takes and returns messages as their descriptors make them.
type Client = connect.Client[dynamicpb.Message, dynamicpb.Message]

// Service makes calls by the descriptors of a service.
type Service struct {
	calls      *Calls
	descriptor protoreflect.ServiceDescriptor
	token      string
}

func (service Service) method(name string) (protoreflect.MethodDescriptor, *Client) {
	method := service.descriptor.Methods().ByName(protoreflect.Name(name))
	answer := func(_ connect.Spec, message any) error {
		if dynamic, ok := message.(*dynamicpb.Message); ok {
			*dynamic = *dynamicpb.NewMessage(method.Output())
		}
		return nil
	}
	options := append(slices.Clone(service.calls.way.options), connect.WithResponseInitializer(answer))
	url := fmt.Sprintf("%s/%s/%s", service.calls.base, service.descriptor.FullName(), name)
	client := connect.NewClient[dynamicpb.Message, dynamicpb.Message](service.calls.client, url, options...)
	return method, client
}

func (service Service) authorize(header http.Header) {
	if service.token != "" {
		header.Set("Authorization", "Bearer "+service.token)
	}
}

func (service Service) request(
	method protoreflect.MethodDescriptor,
	sent Fields,
) (*connect.Request[dynamicpb.Message], error) {
	made, err := message(method.Input(), sent)
	if err != nil {
		return nil, err
	}
	request := connect.NewRequest(made)
	service.authorize(request.Header())
	return request, nil
}

func (service Service) unary(ctx context.Context, name string, sent Fields) (Fields, error) {
	method, client := service.method(name)
	request, err := service.request(method, sent)
	if err != nil {
		return nil, err
	}
	response, err := client.CallUnary(ctx, request)
	if err != nil {
		return nil, err
	}
	return fields(response.Msg)
}

// The first message of a stream of answers.
func (service Service) first(ctx context.Context, name string, sent Fields) (Fields, error) {
	method, client := service.method(name)
	request, err := service.request(method, sent)
	if err != nil {
		return nil, err
	}
	stream, err := client.CallServerStream(ctx, request)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if !stream.Receive() {
		return nil, stream.Err()
	}
	return fields(stream.Msg())
}

func (service Service) upload(ctx context.Context, name string, sent ...Fields) (Fields, error) {
	method, client := service.method(name)
	stream := client.CallClientStream(ctx)
	service.authorize(stream.RequestHeader())
	for _, each := range sent {
		made, err := message(method.Input(), each)
		if err != nil {
			return nil, err
		}
		// At io.EOF the server has answered already.
		if err := stream.Send(made); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	response, err := stream.CloseAndReceive()
	if err != nil {
		return nil, err
	}
	return fields(response.Msg)
}

// Sends one message, takes one answer while this side is still open, and closes. No other answer may come.
func (service Service) exchange(ctx context.Context, name string, sent Fields) (Fields, error) {
	method, client := service.method(name)
	made, err := message(method.Input(), sent)
	if err != nil {
		return nil, err
	}
	stream := client.CallBidiStream(ctx)
	service.authorize(stream.RequestHeader())
	if err := stream.Send(made); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	answer, err := stream.Receive()
	if err != nil {
		return nil, err
	}
	if err := stream.CloseRequest(); err != nil {
		return nil, err
	}
	if more, err := stream.Receive(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("it does not end: %v, %w", more, err)
	}
	if err := stream.CloseResponse(); err != nil {
		return nil, err
	}
	return fields(answer)
}

// Calls are all calls in one way.
type Calls struct {
	given    Given
	files    *protoregistry.Files
	way      Way
	client   *http.Client
	base     string
	sequence int64
}

func (calls *Calls) service(name, token string) (Service, error) {
	found, err := calls.files.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return Service{}, err
	}
	return Service{calls: calls, descriptor: found.(protoreflect.ServiceDescriptor), token: token}, nil
}

func (calls *Calls) unary(ctx context.Context) error {
	nobody, err := calls.service("fleet.v1.OperatorService", "")
	if err != nil {
		return err
	}
	known := Fields{"userName": calls.given.User, "password": calls.given.Password}
	login, err := nobody.unary(ctx, "Login", known)
	if err != nil {
		return err
	}
	token, _ := login["sessionToken"].(string)
	if err := equal(len(token), 43); err != nil {
		return err
	}
	alice := nobody
	alice.token = token
	who, err := alice.unary(ctx, "WhoAmI", Fields{})
	if err != nil {
		return err
	}
	return errors.Join(
		equal(who["userName"], calls.given.User),
		equal(who["organization"], calls.given.Organization),
	)
}

func (calls *Calls) refused(ctx context.Context) error {
	nobody, err := calls.service("fleet.v1.OperatorService", "")
	if err != nil {
		return err
	}
	answer, err := nobody.unary(ctx, "WhoAmI", Fields{})
	if err := refused(connect.CodeUnauthenticated, "", answer, err); err != nil {
		return err
	}
	answer, err = nobody.unary(ctx, "Login", Fields{"userName": "", "password": "x"})
	return refused(connect.CodeInvalidArgument, "user_name", answer, err)
}

func (calls *Calls) health(ctx context.Context) error {
	health, err := calls.service("grpc.health.v1.Health", "")
	if err != nil {
		return err
	}
	serving := Fields{"status": "SERVING"}
	for _, name := range []string{"", "fleet.v1.OperatorService"} {
		status, err := health.unary(ctx, "Check", Fields{"service": name})
		if err != nil {
			return err
		}
		if err := equal(status, serving); err != nil {
			return err
		}
	}
	list, err := health.unary(ctx, "List", Fields{})
	if err != nil {
		return err
	}
	statuses, _ := list["statuses"].(Fields)
	if err := equal(statuses[""], serving); err != nil {
		return err
	}
	answer, err := health.unary(ctx, "Check", Fields{"service": "fleet.v1.Nothing"})
	if err := refused(connect.CodeNotFound, "no such service", answer, err); err != nil {
		return err
	}
	answer, err = health.first(ctx, "Watch", Fields{})
	return refused(connect.CodeUnimplemented, "Check", answer, err)
}

func (calls *Calls) upload(ctx context.Context) error {
	gateway, err := calls.service("agentgateway.v1.AgentGatewayService", calls.given.Session)
	if err != nil {
		return err
	}
	batch, err := calls.files.FindDescriptorByName("fleet.v1.EventBatch")
	if err != nil {
		return err
	}
	discovered := Fields{"endpoint": "sn:" + calls.way.name, "address": "10.0.0.7:80", "driver": "proto"}
	events := Fields{"events": []Fields{{"at": calls.given.now(), "discovered": discovered}}}
	made, err := message(batch.(protoreflect.MessageDescriptor), events)
	if err != nil {
		return err
	}
	payload, err := proto.Marshal(made)
	if err != nil {
		return err
	}
	upload := func(step int64) Fields {
		return Fields{"payload": payload, "capturedAt": calls.given.now(), "sequence": calls.sequence + step}
	}
	stored, err := gateway.upload(ctx, "UploadEvents", upload(1), upload(2))
	if err != nil {
		return err
	}
	// What is 0, as the count of what was rejected, is not in it.
	durable := strconv.FormatInt(calls.sequence+2, 10)
	if err := equal(stored, Fields{"acceptedCount": "2", "durableSequence": durable}); err != nil {
		return err
	}
	answer, err := gateway.upload(ctx, "UploadEvents", upload(3), upload(3))
	return refused(connect.CodeInvalidArgument, "sequence", answer, err)
}

func (calls *Calls) control(ctx context.Context) error {
	gateway, err := calls.service("agentgateway.v1.AgentGatewayService", calls.given.Session)
	if err != nil {
		return err
	}
	answer, err := gateway.exchange(ctx, "ControlStream", Fields{"hello": Fields{"agentVersion": "0.1.0"}})
	if err != nil {
		return err
	}
	accepted, _ := answer["accepted"].(Fields)
	text, _ := accepted["serverTime"].(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%v: %w", answer, err)
	}
	return equal(at, calls.given.now())
}

func (calls *Calls) all() error {
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"unary", calls.unary},
		{"refused", calls.refused},
		{"health", calls.health},
		{"upload", calls.upload},
		{"control", calls.control},
	}
	for _, step := range steps {
		// In HTTP/1.1 there are no two directions at once.
		if step.name == "control" && calls.way.http == 1 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		err := step.run(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("%s %s: %w", calls.way.name, step.name, err)
		}
		fmt.Println(calls.way.name, step.name)
	}
	return nil
}

func read() (Given, *protoregistry.Files, error) {
	var given Given
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		return given, nil, err
	}
	if err := json.Unmarshal(text, &given); err != nil {
		return given, nil, err
	}
	encoded, err := os.ReadFile(given.Descriptors)
	if err != nil {
		return given, nil, err
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(encoded, set); err != nil {
		return given, nil, err
	}
	files, err := protodesc.NewFiles(set)
	return given, files, err
}

func run() error {
	given, files, err := read()
	if err != nil {
		return err
	}
	scheme := "http"
	if given.CA != "" {
		scheme = "https"
	}
	for index, way := range ways {
		transport, err := newTransport(given, way.http)
		if err != nil {
			return err
		}
		calls := &Calls{
			given:    given,
			files:    files,
			way:      way,
			client:   &http.Client{Transport: transport},
			base:     scheme + "://" + given.Address,
			sequence: int64(index) * 10,
		}
		if err := calls.all(); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
