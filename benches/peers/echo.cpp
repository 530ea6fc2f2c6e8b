// POCO's TCPServer: a thread of a pool for each connection.
#include <Poco/Exception.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/StreamSocket.h>
#include <Poco/Net/TCPServer.h>
#include <Poco/Net/TCPServerConnectionFactory.h>
#include <Poco/ThreadPool.h>
#include <iostream>
#include <unistd.h>

using namespace Poco::Net;

const int backlog = 4096;
const int max_threads = 12000;
const int stack_size = 128 * 1024;

class Echo : public TCPServerConnection {
public:
    explicit Echo(const StreamSocket &socket) : TCPServerConnection(socket) {}

    void run() override {
        char buffer[8192];
        try {
            socket().setNoDelay(true);
            while (int read = socket().receiveBytes(buffer, sizeof buffer))
                for (int sent = 0; sent < read;)
                    sent += socket().sendBytes(buffer + sent, read - sent);
        } catch (const Poco::Exception &) {
            // A client that disconnects is no error of the server.
        }
    }
};

int main() {
    ServerSocket socket;
    socket.bind(SocketAddress("127.0.0.1", 0));
    socket.listen(backlog);
    auto *params = new TCPServerParams;
    params->setMaxThreads(max_threads);
    params->setMaxQueued(backlog);
    Poco::ThreadPool pool(2, max_threads, 60, stack_size);
    TCPServer server(new TCPServerConnectionFactoryImpl<Echo>(), pool, socket, params);
    server.start();
    std::cout << "listening on " << socket.address().toString() << std::endl;
    pause();
}
