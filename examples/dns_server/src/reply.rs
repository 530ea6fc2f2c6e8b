//! From the bytes of a query to the bytes of its response.

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::lookup;
use super::zone::Zone;

/// The limit of a response over UDP, in bytes, whatever the client offers: it is not fragmented, and it
/// is of little use for amplification by forged queries.
const MAX_UDP: u16 = 1232;

/// The response; `None` for what must not be answered.
pub fn over_udp(zone: &Zone, packet: &[u8]) -> Result<Option<Vec<u8>>, ProtoError> {
    reply(zone, packet, |query| query.max_payload().min(MAX_UDP))
}

/// The same without that limit.
pub fn over_tcp(zone: &Zone, packet: &[u8]) -> Result<Option<Vec<u8>>, ProtoError> {
    reply(zone, packet, |_| u16::MAX)
}

fn reply(
    zone: &Zone,
    packet: &[u8],
    max_len: impl Fn(&Message) -> u16,
) -> Result<Option<Vec<u8>>, ProtoError> {
    let header = Header::read(&mut BinDecoder::new(packet));
    let Ok(asked) = header.map(|header| header.metadata) else {
        return Ok(None);
    };
    // Two servers that answer each other's responses would never stop.
    if asked.message_type == MessageType::Response {
        return Ok(None);
    }
    let mut response = Message::response(asked.id, asked.op_code);
    response.metadata = Metadata::response_from_request(&asked);
    let query = Message::from_vec(packet);
    match &query {
        _ if asked.op_code != OpCode::Query => {
            response.metadata.response_code = ResponseCode::NotImp;
        }
        Ok(query) => respond(zone, query, &mut response),
        Err(_) => response.metadata.response_code = ResponseCode::FormErr,
    }
    fit(response, query.map_or(512, |query| max_len(&query))).map(Some)
}

fn respond(zone: &Zone, query: &Message, response: &mut Message) {
    if let Some(theirs) = &query.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP);
        edns.set_dnssec_ok(theirs.flags().dnssec_ok);
        response.set_edns(edns);
    }
    let [question] = &query.queries[..] else {
        response.metadata.response_code = ResponseCode::FormErr;
        return;
    };
    response.add_query(question.clone());
    if query.version() > 0 {
        response.metadata.response_code = ResponseCode::BADVERS;
    } else {
        lookup::answer(zone, question, response);
    }
}

/// What does not fit is omitted: first the additional records, then everything, with the flag that makes
/// the client ask over TCP.
fn fit(mut response: Message, max_len: u16) -> Result<Vec<u8>, ProtoError> {
    let whole = response.to_vec()?;
    if whole.len() <= max_len.into() {
        return Ok(whole);
    }
    response.additionals.clear();
    let answer = response.to_vec()?;
    if answer.len() <= max_len.into() {
        return Ok(answer);
    }
    response.truncate().to_vec()
}
