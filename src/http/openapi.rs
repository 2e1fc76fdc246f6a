//! What the descriptions of both planes have in common.

use utoipa::openapi::{OpenApi, RefOr, Schema};

use super::problem::CONTENT_TYPE;

/// The same description, with the content type that problem documents have: for each type there is but one default.
pub(super) fn with_problems(mut description: OpenApi) -> OpenApi {
    let items = description.paths.paths.values_mut();
    let operations =
        items.flat_map(|item| [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete]);
    for response in operations.flatten().flat_map(|operation| operation.responses.responses.values_mut()) {
        let RefOr::T(response) = response else { continue };
        if let Some(content) = response.content.shift_remove("application/json") {
            let kind = if is_problem(&content) { CONTENT_TYPE } else { "application/json" };
            response.content.insert(kind.to_owned(), content);
        }
    }
    description
}

fn is_problem(content: &RefOr<utoipa::openapi::Content>) -> bool {
    let RefOr::T(content) = content else { return false };
    matches!(&content.schema, Some(RefOr::<Schema>::Ref(schema)) if schema.ref_location.ends_with("/ProblemDocument"))
}

#[cfg(test)]
mod tests {
    use crate::http::{openapi_admin, openapi_peer};

    #[test]
    fn a_problem_is_described_with_its_own_content_type() {
        let mut problems = 0;
        for description in [openapi_admin(), openapi_peer()] {
            let document = serde_json::to_value(description).unwrap();
            let operations =
                document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
            for response in operations.flat_map(|operation| operation["responses"].as_object().unwrap().values()) {
                for (kind, content) in response["content"].as_object().into_iter().flatten() {
                    let is_problem = content["schema"]["$ref"] == "#/components/schemas/ProblemDocument";
                    assert_eq!(is_problem, kind == "application/problem+json", "{response}");
                    problems += usize::from(is_problem);
                }
            }
        }
        assert!(problems > 10);
    }
}
