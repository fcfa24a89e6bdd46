module fleetd-interop

go 1.24

require (
	connectrpc.com/connect v1.14.0
	google.golang.org/protobuf v1.36.10
)
