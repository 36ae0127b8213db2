# Runs every emitted verifier on every case: `ruby run.rb FOLDER` prints one digit a case.
require "json"

folder = ARGV[0]
verifiers = Hash.new do |known, name|
  known[name] = Object.new.tap { |object| object.instance_eval(File.read("#{folder}/#{name}.rb"), name) }
end
JSON.parse(File.read("#{folder}/cases.json")).each do |c|
  body = c["body"].unpack1("m0")
  answer = verifiers[c["verifier"]].verify_healthie_webhook(c["method"], c["target"], c["headers"].to_h, body, c["secret"])
  print(answer == true ? "1" : answer == false ? "0" : "?")
rescue StandardError => e
  warn("#{c["name"]}: #{e.inspect}")
  print("E")
end
