<?php
// Runs every emitted verifier on every case: `php run.php FOLDER` prints one digit a case.
error_reporting(E_ALL);
set_error_handler(function ($level, $text) {
    throw new ErrorException($text);
});
$folder = $argv[1];
$known = [];
foreach (json_decode(file_get_contents("$folder/cases.json"), true) as $case) {
    $space = 'v' . preg_replace('/[^a-z0-9]/', '_', $case['verifier']);
    if (!isset($known[$space])) {
        $known[$space] = true;
        $text = file_get_contents("$folder/{$case['verifier']}.php");
        eval("namespace $space;" . substr($text, strlen('<?php')));
    }
    try {
        $headers = array_column($case['headers'], 1, 0);
        $verify = "$space\\verify_healthie_webhook";
        $answer = $verify($case['method'], $case['target'], $headers, base64_decode($case['body']), $case['secret']);
        echo $answer ? '1' : '0';
    } catch (Throwable $error) {
        fwrite(STDERR, "{$case['name']}: {$error->getMessage()}\n");
        echo 'E';
    }
}
