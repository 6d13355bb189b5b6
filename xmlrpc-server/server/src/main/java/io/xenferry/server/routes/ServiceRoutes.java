package io.xenferry.server.routes;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.model.XenApiException;
import io.xenferry.server.config.ProductConfig;
import io.xenferry.server.http.AdmittedRoutes;
import io.xenferry.server.http.Answers;
import io.xenferry.server.http.Router;
import io.xenferry.sr.QueryResult;
import io.xenferry.sr.SrDriver;
import io.xenferry.sr.SrDrivers;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.server.Request;

/**
 * What there is behind {@code /services}, as JSON: {@code /services} itself tells of the storage
 * multiplexor, {@code /services/SM} of its drivers, {@code /services/SM/TYPE} of one, and {@code
 * /services/driver} of the domains that drivers run in, of which there are none.
 */
public final class ServiceRoutes {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String ALL = "/services";
  private static final String STORAGE = "/services/SM";
  private static final String DOMAINS = "/services/driver";

  private final SrDrivers drivers;
  private final AdmittedRoutes routes;
  private final ProductConfig product;

  public ServiceRoutes(SrDrivers drivers, AdmittedRoutes routes, ProductConfig product) {
    this.drivers = drivers;
    this.routes = routes;
    this.product = product;
  }

  public void mount(Router router) {
    router.route("GET", ALL, routes.below("get_services", this::all));
    router.route("GET", STORAGE, routes.below("get_services_sm", this::storage));
  }

  private void all(AdmittedRoutes.Exchange exchange) {
    switch (Request.getPathInContext(exchange.request())) {
      case ALL ->
          answer(
              exchange,
              described(
                  new QueryResult(
                      "mux",
                      "storage multiplexor",
                      "hands calls on to the drivers of SRs",
                      product.brand(),
                      "",
                      product.version(),
                      "2.0",
                      List.of(),
                      Map.of())));
      case DOMAINS -> answer(exchange, JSON.createArrayNode());
      default -> nothing(exchange);
    }
  }

  private void storage(AdmittedRoutes.Exchange exchange) {
    String path = Request.getPathInContext(exchange.request());
    if (path.equals(STORAGE)) {
      ArrayNode all = JSON.createArrayNode();
      drivers.all().forEach(driver -> all.add(described(driver.query())));
      answer(exchange, all);
      return;
    }
    String type = path.substring(STORAGE.length() + 1);
    Optional<SrDriver> one =
        drivers.all().stream().filter(driver -> driver.type().equals(type)).findFirst();
    if (one.isPresent()) {
      answer(exchange, described(one.get().query()));
    } else {
      nothing(exchange);
    }
  }

  private static void nothing(AdmittedRoutes.Exchange exchange) {
    exchange.refuse(
        HttpStatus.NOT_FOUND_404,
        new XenApiException("INTERNAL_ERROR", "there is no such service"));
  }

  private static ObjectNode described(QueryResult told) {
    ObjectNode node =
        JSON.createObjectNode()
            .put("driver", told.driver())
            .put("name", told.name())
            .put("description", told.description())
            .put("vendor", told.vendor())
            .put("copyright", told.copyright())
            .put("version", told.version())
            .put("required_api_version", told.requiredApiVersion());
    told.features().forEach(node.putArray("features")::add);
    told.configuration().forEach(node.putObject("configuration")::put);
    node.putArray("required_cluster_stack");
    return node;
  }

  private static void answer(AdmittedRoutes.Exchange exchange, JsonNode node) {
    Answers.bytes(
        exchange.response(),
        exchange.callback(),
        HttpStatus.OK_200,
        "application/json",
        node.toString().getBytes(StandardCharsets.UTF_8));
  }
}
