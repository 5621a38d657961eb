// Program ferretdb serves the MongoDB protocol on top of PostgreSQL with the DocumentDB extension.
//
// It is the standalone MongoDB of the tests: scripts/test-servers builds and starts it. It listens
// on loopback without authentication, sends no telemetry, and ends at SIGTERM or SIGINT.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/v2/ferretdb"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:27017", "address to listen on")
	postgresql := flag.String("postgresql", "", "URL of PostgreSQL with the extension")
	state := flag.String("state", ".", "folder for the state file")
	flag.Parse()

	server, err := ferretdb.New(&ferretdb.Config{
		PostgreSQLURL: *postgresql,
		ListenAddr:    *listen,
		StateDir:      *state,
		LogOutput:     os.Stderr, // errors only: the default level
		Telemetry:     new(bool),
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server.Run(ctx)
}
