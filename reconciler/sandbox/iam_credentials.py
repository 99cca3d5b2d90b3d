"""What a person may have with an IAM user: a password, MFA devices, SSH keys, certificates, credentials of services.

IAM deletes no user that has any of them. Source: IAM API reference (CreateLoginProfile, EnableMFADevice,
CreateVirtualMFADevice, UploadSSHPublicKey, UploadSigningCertificate, CreateServiceSpecificCredential, DeleteUser).
"""

from __future__ import annotations

from typing import Any

from reconciler.sandbox.iam_roles import Roles
from reconciler.sandbox.iam_state import User, conflict, limit
from reconciler.sandbox.protocol import ApiError, Params
from reconciler.sandbox.world import Call, moment

MAX_MFA_DEVICES = 8
MAX_SSH_KEYS = 5
MAX_CERTIFICATES = 2
MAX_SERVICE_CREDENTIALS = 2
SERVICES = ("codecommit.amazonaws.com", "cassandra.amazonaws.com", "bedrock.amazonaws.com")


class Credentials(Roles):
    """The operations on them."""

    def _refuse_credentials(self, user: User) -> None:
        """Raises: ApiError DeleteConflict where the user has any."""
        for held, words in (
            (user.login_profile is not None, "login profile"),
            (user.mfa, "MFA device"),
            (user.ssh_keys, "SSH public keys"),
            (user.certificates, "signing certificates"),
            (user.service_credentials, "service specific credentials"),
        ):
            if held:
                raise conflict(f"Cannot delete entity, must delete {words} first.")

    # --- the password ----------------------------------------------------------------------------------------------

    def create_login_profile(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        if user.login_profile is not None:
            raise ApiError("EntityAlreadyExists", f"Login Profile for user {user.name} already exists.", 409)
        user.login_profile = call.now
        return {"LoginProfile": {"UserName": user.name, "CreateDate": moment(call.now)}}

    def get_login_profile(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        if user.login_profile is None:
            raise ApiError("NoSuchEntity", f"Login Profile for User {user.name} cannot be found.", 404)
        return {"LoginProfile": {"UserName": user.name, "CreateDate": moment(user.login_profile)}}

    def delete_login_profile(self, call: Call, params: Params) -> Params:
        self.get_login_profile(call, params)
        self._user(call, params).login_profile = None
        return {}

    # --- MFA devices -----------------------------------------------------------------------------------------------

    def create_virtual_mfa_device(self, call: Call, params: Params) -> Params:
        serial = call.arn("iam", f"mfa{params.get('Path', '/')}{params['VirtualMFADeviceName']}", "")
        if serial in self._state(call).virtual_mfa:
            raise ApiError("EntityAlreadyExists", "MFADevice entity at the same path and name already exists.", 409)
        self._state(call).virtual_mfa.add(serial)
        return {"VirtualMFADevice": {"SerialNumber": serial, "Base32StringSeed": b"", "QRCodePNG": b""}}

    def delete_virtual_mfa_device(self, call: Call, params: Params) -> Params:
        state, serial = self._state(call), params["SerialNumber"]
        if serial not in state.virtual_mfa:
            raise ApiError("NoSuchEntity", f"VirtualMFADevice with serial number {serial} doesn't exist.", 404)
        if any(serial in user.mfa for user in state.users.values()):
            raise conflict("MFA VirtualDevice in use. Must deactivate first.")
        state.virtual_mfa.discard(serial)
        return {}

    def enable_mfa_device(self, call: Call, params: Params) -> Params:
        """The serial number of a hardware device, or the ARN of a virtual one that was made before."""
        state, user, serial = self._state(call), self._user(call, params), params["SerialNumber"]
        if serial.startswith("arn:") and serial not in state.virtual_mfa:
            raise ApiError("NoSuchEntity", f"VirtualMFADevice with serial number {serial} doesn't exist.", 404)
        if any(serial in other.mfa for other in state.users.values()):
            raise ApiError("EntityAlreadyExists", "MFA Device is already in use.", 409)
        if len(user.mfa) >= MAX_MFA_DEVICES:
            raise limit(f"Cannot exceed quota for MFADevicesPerUser: {MAX_MFA_DEVICES}")
        user.mfa[serial] = call.now
        return {}

    def deactivate_mfa_device(self, call: Call, params: Params) -> Params:
        user, serial = self._user(call, params), params["SerialNumber"]
        if user.mfa.pop(serial, None) is None:
            raise ApiError("NoSuchEntity", f"MFA device {serial} is not enabled for user {user.name}.", 404)
        return {}

    def list_mfa_devices(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        rows = [{"UserName": user.name, "SerialNumber": s, "EnableDate": moment(t)} for s, t in user.mfa.items()]
        return self._pages(rows, params, "MFADevices")

    # --- SSH keys and signing certificates -------------------------------------------------------------------------

    def upload_ssh_public_key(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        shown = self._put(user.ssh_keys, MAX_SSH_KEYS, "SSHPublicKeysPerUser", {
            "UserName": user.name, "SSHPublicKeyId": self._make_id("APKA"), "Fingerprint": "00:11",
            "SSHPublicKeyBody": params["SSHPublicKeyBody"], "Status": "Active", "UploadDate": moment(call.now),
        }, "SSHPublicKeyId")  # fmt: skip
        return {"SSHPublicKey": shown}

    def list_ssh_public_keys(self, call: Call, params: Params) -> Params:
        hidden = ("SSHPublicKeyBody", "Fingerprint")
        rows = [_without(row, *hidden) for row in self._user(call, params).ssh_keys.values()]
        return self._pages(rows, params, "SSHPublicKeys")

    def delete_ssh_public_key(self, call: Call, params: Params) -> Params:
        self._drop(self._user(call, params).ssh_keys, "SSH Public Key", params["SSHPublicKeyId"])
        return {}

    def upload_signing_certificate(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        shown = self._put(user.certificates, MAX_CERTIFICATES, "SigningCertificatesPerUser", {
            "UserName": user.name, "CertificateId": self._make_id("ASCA") + self.world.token(11), "Status": "Active",
            "CertificateBody": params["CertificateBody"], "UploadDate": moment(call.now),
        }, "CertificateId")  # fmt: skip
        return {"Certificate": shown}

    def list_signing_certificates(self, call: Call, params: Params) -> Params:
        return self._pages(list(self._user(call, params).certificates.values()), params, "Certificates")

    def delete_signing_certificate(self, call: Call, params: Params) -> Params:
        self._drop(self._user(call, params).certificates, "Certificate", params["CertificateId"])
        return {}

    # --- credentials of single services ----------------------------------------------------------------------------

    def create_service_specific_credential(self, call: Call, params: Params) -> Params:
        user, service = self._user(call, params), params["ServiceName"]
        if service not in SERVICES:
            raise ApiError("NotSupportedService", f"No such service {service} is supported.", 404)
        held = sum(row["ServiceName"] == service for row in user.service_credentials.values())
        if held >= MAX_SERVICE_CREDENTIALS:
            raise limit(f"Cannot exceed quota for ServiceSpecificCredentialsPerUser: {MAX_SERVICE_CREDENTIALS}")
        made = {
            "UserName": user.name, "ServiceName": service, "Status": "Active", "CreateDate": moment(call.now),
            "ServiceUserName": f"{user.name}-at-{call.account}", "ServiceSpecificCredentialId": self._make_id("ACCA"),
        }  # fmt: skip
        user.service_credentials[made["ServiceSpecificCredentialId"]] = made
        return {"ServiceSpecificCredential": {**made, "ServicePassword": self.world.token(40)}}

    def list_service_specific_credentials(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        wanted = params.get("ServiceName")
        rows = [row for row in user.service_credentials.values() if wanted in {None, row["ServiceName"]}]
        return self._pages(rows, params, "ServiceSpecificCredentials")

    def delete_service_specific_credential(self, call: Call, params: Params) -> Params:
        found = self._user(call, params).service_credentials
        self._drop(found, "Service Specific Credential", params["ServiceSpecificCredentialId"])
        return {}

    @staticmethod
    def _put(held: dict[str, Params], most: int, quota: str, made: Params, key: str) -> Params:
        if len(held) >= most:
            raise limit(f"Cannot exceed quota for {quota}: {most}")
        held[made[key]] = made
        return made

    @staticmethod
    def _drop(held: dict[str, Any], words: str, name: str) -> None:
        if held.pop(name, None) is None:
            raise ApiError("NoSuchEntity", f"The {words} with id {name} cannot be found.", 404)


def _without(row: Params, *members: str) -> Params:
    return {member: value for member, value in row.items() if member not in members}
