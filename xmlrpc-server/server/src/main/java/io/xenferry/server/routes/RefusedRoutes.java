package io.xenferry.server.routes;

import io.xenferry.model.XenApiException;
import io.xenferry.server.http.AdmittedRoutes;
import io.xenferry.server.http.Router;
import java.util.List;
import org.eclipse.jetty.http.HttpStatus;

/**
 * Paths that published servers have and behind which there is nothing here. Whoever may not ask is
 * told so first, as there; who may gets a status, and a task that he has named fails with the code
 * that a call for the same would.
 */
public final class RefusedRoutes {
  private static final String UPDATES = "Updates";

  /**
   * @param action of the data model
   * @param code with which a task fails
   */
  private record Refused(
      String method, String path, String action, int status, String code, List<String> params) {
    /** Published servers could; this one does not. */
    static Refused notHere(String method, String path, String action) {
      return new Refused(
          method,
          path,
          action,
          HttpStatus.NOT_IMPLEMENTED_501,
          "NOT_IMPLEMENTED",
          List.of(method + " " + path));
    }

    /** Published servers fail as well where they lack it. */
    static Refused fails(String method, String path, String action, String code, String... params) {
      return new Refused(
          method, path, action, HttpStatus.INTERNAL_SERVER_ERROR_500, code, List.of(params));
    }

    /** What is behind it depends on what is there, which is nothing. */
    static Refused empty(String method, String path, String action) {
      return new Refused(
          method,
          path,
          action,
          HttpStatus.NOT_FOUND_404,
          "INTERNAL_ERROR",
          List.of("there is no such service"));
    }
  }

  private static final List<Refused> ALL =
      List.of(
          Refused.empty("POST", "/services", "post_services"),
          Refused.empty("PUT", "/services", "put_services"),
          Refused.notHere("PUT", "/services/SM", "put_services_sm"),
          Refused.notHere("GET", "/services/xenops", "get_services_xenops"),
          Refused.notHere("POST", "/services/xenops", "post_services_xenops"),
          Refused.notHere("PUT", "/services/xenops", "put_services_xenops"),
          Refused.notHere("PUT", "/import", "put_import"),
          Refused.notHere("PUT", "/import_metadata", "put_import_metadata"),
          Refused.notHere("PUT", "/import_raw_vdi", "put_import_raw_vdi"),
          Refused.notHere("GET", "/export", "get_export"),
          Refused.notHere("GET", "/export_metadata", "get_export_metadata"),
          Refused.notHere("GET", "/export_raw_vdi", "get_export_raw_vdi"),
          Refused.notHere("GET", "/console", "connect_console_ws"),
          Refused.notHere("GET", "/vncsnapshot", "get_vncsnapshot"),
          Refused.notHere("PUT", "/rrd", "rrd"),
          Refused.notHere("PUT", "/pool/xmldbdump", "put_pool_xml_db_sync"),
          Refused.notHere("POST", "/remote_db_access", "post_remote_db_access"),
          Refused.notHere("POST", "/remote_db_access_v2", "post_remote_db_access_v2"),
          Refused.notHere("GET", "/sync_config_files", "get_config_sync"),
          Refused.notHere("GET", "/host_backup", "get_host_backup"),
          Refused.notHere("PUT", "/host_restore", "put_host_restore"),
          Refused.notHere("GET", "/host_logs_download", "get_host_logs_download"),
          Refused.notHere("GET", "/system-status", "get_system_status"),
          Refused.notHere("PUT", "/pool_patch_upload", "put_pool_patch_upload"),
          Refused.fails("GET", "/wlb_report", "get_wlb_report", "WLB_NOT_INITIALIZED"),
          Refused.fails("GET", "/wlb_diagnostics", "get_wlb_diagnostics", "WLB_NOT_INITIALIZED"),
          Refused.fails(
              "GET",
              "/repository/enabled",
              "get_enabled_repository",
              "LICENCE_RESTRICTION",
              UPDATES),
          Refused.fails("GET", "/repository", "get_repository", "LICENCE_RESTRICTION", UPDATES),
          Refused.fails("GET", "/host_updates", "get_host_updates", "LICENCE_RESTRICTION", UPDATES),
          Refused.fails("GET", "/updates", "get_updates", "LICENCE_RESTRICTION", UPDATES),
          Refused.fails("PUT", "/bundle", "put_bundle", "LICENCE_RESTRICTION", UPDATES));

  private final AdmittedRoutes routes;

  public RefusedRoutes(AdmittedRoutes routes) {
    this.routes = routes;
  }

  public void mount(Router router) {
    for (Refused each : ALL) {
      router.route(
          each.method(),
          each.path(),
          routes.below(
              each.action(),
              exchange ->
                  exchange.refuse(each.status(), new XenApiException(each.code(), each.params()))));
    }
  }
}
