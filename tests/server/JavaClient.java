import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Calls the API as Java programs do by default: each request offers HTTP/2. */
public class JavaClient {
    static final HttpClient CLIENT = HttpClient.newHttpClient();
    static final String LINES = "{\"title\": \"one\"}\n{\"title\": \"two\"}\n{\"title\": \"three\"}\n";

    public static void main(String[] arguments) throws Exception {
        HttpResponse<String> made = send("POST", "/tasks", "application/json", BodyPublishers.ofString("{\"title\": \"From Java\"}"));
        System.out.println("POST " + made.statusCode());
        String path = made.headers().firstValue("location").orElseThrow();
        BodyPublisher change = BodyPublishers.ofString("{\"priority\": 4}");
        System.out.println("PATCH " + send("PATCH", path, "application/json", change).statusCode());
        report("import", BodyPublishers.ofString(LINES));
        report("streamed", BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(LINES.getBytes())));  // chunked
        System.out.println("again " + send("GET", path, "application/json", BodyPublishers.noBody()).statusCode());
    }

    static void report(String name, BodyPublisher body) throws Exception {
        HttpResponse<String> answer = send("POST", "/tasks/import", "application/jsonl", body);
        Matcher created = Pattern.compile("\"created\":(\\d+)").matcher(answer.body());
        System.out.println(name + " " + answer.statusCode() + " " + (created.find() ? created.group(1) : answer.body()));
    }

    static HttpResponse<String> send(String method, String path, String mediaType, BodyPublisher body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("API") + path))
            .method(method, body)
            .header("Content-Type", mediaType)
            .header("Authorization", System.getenv("AUTHORIZATION"))
            .build();
        return CLIENT.send(request, BodyHandlers.ofString());
    }
}
