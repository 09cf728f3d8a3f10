/* The status of rke2's and k3s' own command, as their documents and versions write it. */
#include "provisioner/owned/status_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct owned_status read_ok(const char *text)
{
    struct owned_status s = {0};
    struct error err CLEANUP(error_clear) = {0};
    if (owned_status_read(text, strlen(text), &s, &err) < 0)
        fail_msg("%s", err.message);
    return s;
}

static void refuses(const char *text, const char *why)
{
    struct owned_status s = {0};
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(owned_status_read(text, strlen(text), &s, &err), -1);
    assert_int_equal(err.result, RESULT_FAILED);
    assert_non_null(strstr(err.message, why));
    assert_null(s.keys);
}

static void the_documents_single_server(void **state)
{
    (void)state;
    struct owned_status s CLEANUP(owned_status_free) =
        read_ok("Encryption Status: Enabled\n"
                "Current Rotation Stage: start\n"
                "Server Encryption Hashes: All hashes match\n"
                "\n"
                "Active  Key Type  Name\n"
                "------  --------  ----\n"
                " *      AES-CBC   aescbckey\n\n");
    assert_true(s.configured && s.enabled && s.hash_match);
    assert_int_equal(s.stage, STAGE_START);
    assert_null(s.hash_error);
    assert_int_equal(s.key_count, 1);
    assert_string_equal(s.keys[0].name, "aescbckey");
    assert_string_equal(s.keys[0].type, "AES-CBC");
    assert_true(s.keys[0].active);
}

static void the_documents_several_servers(void **state)
{
    (void)state;
    struct owned_status s CLEANUP(owned_status_free) =
        read_ok("time=\"2021-12-10\" level=warning msg=\"Encryption something\"\r\n"
                "Encryption Status: Enabled\r\n"
                "Current Rotation Stage: rotate\r\n"
                "Server Encryption Hashes: hash does not match between node-1 and node-2\r\n"
                "\r\n"
                "Active  Key Type           Name\r\n"
                "------  --------           ----\r\n"
                " *      XSalsa20-POLY1305  secretboxkey-2021-12-10T22:54:38Z\r\n"
                "        AES-CBC            aescbckey\r\n");
    assert_true(s.enabled);
    assert_false(s.hash_match);
    assert_int_equal(s.stage, STAGE_ROTATE);
    assert_string_equal(s.hash_error, "hash does not match between node-1 and node-2");
    assert_int_equal(s.key_count, 2);
    assert_string_equal(s.keys[0].type, "XSalsa20-POLY1305");
    assert_string_equal(s.keys[1].name, "aescbckey");
    assert_false(s.keys[1].active);
}

static void disabled(void **state)
{
    (void)state;
    struct owned_status s CLEANUP(owned_status_free) =
        read_ok("Encryption Status: Disabled\nCurrent Rotation Stage: reencrypt_finished\n"
                "Server Encryption Hashes: All hashes match\n\nActive  Key Type  Name\n"
                "------  --------  ----\n        AES-CBC   aescbckey\n");
    assert_true(s.configured && s.hash_match && !s.enabled);
    assert_int_equal(s.key_count, 1);
    assert_false(s.keys[0].active);
    struct owned_status none CLEANUP(owned_status_free) =
        read_ok("Encryption Status: Disabled, no configuration file found\n");
    assert_false(none.configured || none.enabled);
}

static void json(void **state)
{
    (void)state;
    struct owned_status s CLEANUP(owned_status_free) =
        read_ok("{\n\t\"stage\": \"prepare\",\n\t\"activekey\": \"AES-CBC aescbckey\",\n"
                "\t\"enable\": true,\n\t\"hasherror\": \"hash does not match between a and b\",\n"
                "\t\"inactivekeys\": [\n\t\t\"AES-CBC aescbckey-2024-01-01T00:00:00Z\"\n\t]\n}\n");
    assert_true(s.configured && s.enabled && !s.hash_match);
    assert_int_equal(s.stage, STAGE_PREPARE);
    assert_string_equal(s.hash_error, "hash does not match between a and b");
    assert_int_equal(s.key_count, 2);
    assert_string_equal(s.keys[1].name, "aescbckey-2024-01-01T00:00:00Z");
    struct owned_status old CLEANUP(owned_status_free) =
        read_ok("{\"stage\":\"start\",\"activekey\":\"aescbckey\",\"enable\":true,"
                "\"hashmatch\":true}");
    assert_true(old.hash_match);
    assert_string_equal(old.keys[0].type, "");
    assert_string_equal(old.keys[0].name, "aescbckey");
    struct owned_status none CLEANUP(owned_status_free) =
        read_ok("{\"stage\":\"\",\"activekey\":\"\"}");
    assert_false(none.configured);
}

static void what_is_not_understood_is_an_error(void **state)
{
    (void)state;
    refuses("", "no line");
    refuses("Incorrect Usage\n", "no line");
    refuses("Encryption Status: Perhaps\n", "neither");
    refuses("Encryption Status: Enabled\nServer Encryption Hashes: All hashes match\n", "no stage");
    refuses("Encryption Status: Enabled\nCurrent Rotation Stage: start\n", "no word");
    refuses("Encryption Status: Enabled\nCurrent Rotation Stage: begin\n", "no stage");
    refuses("{\"stage\":", "no JSON");
    refuses("{\"stage\":\"begin\",\"enable\":true}", "no stage");
    refuses("{\"stage\":\"start\",\"enable\":\"true\"}", "another form");
    refuses("{\"stage\":\"start\",\"enable\":true,\"inactivekeys\":[1]}", "no text");
    refuses("{\"enable\":true}", "another form");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_documents_single_server),
        cmocka_unit_test(the_documents_several_servers),
        cmocka_unit_test(disabled),
        cmocka_unit_test(json),
        cmocka_unit_test(what_is_not_understood_is_an_error),
    };
    return cmocka_run_group_tests_name("owned_status", tests, NULL, NULL);
}
